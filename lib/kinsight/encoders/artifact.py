"""A model on disk: ``model.safetensors`` and ``model.json``, checked against their checksums.

Weights are plain numbers and the description is JSON, so reading a model runs no code from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from kinsight.encoders.base import Encoder, VocabularySizes
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, IntegrityError

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"
FORMAT = 1
ITEM_BASIS = "objective.item_basis"
"""Name of the weights that are not the encoder's."""
TRAIN_AGAIN = "restore the folder from a backup, or train again with `kinsight train`"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An encoder as it is kept and shipped.

    Attributes:
        encoder: Registered name.
        options: All options of the encoder, defaults included.
        vocabulary_version: The only vocabulary that the model reads.
        vocabulary_sizes: Rows of its embedding tables.
        dimension: Width of a user vector.
        interests: Vectors a user.
        sha256: Checksum of the weights.
        weights: The weights in safetensors form.
    """

    encoder: str
    options: dict[str, Any]
    vocabulary_version: str
    vocabulary_sizes: dict[str, int]
    dimension: int
    interests: int
    sha256: str
    weights: bytes = dataclasses.field(repr=False)

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        name: str,
        options: dict[str, Any],
        vocabulary_version: str,
        sizes: VocabularySizes,
        item_basis: Tensor | None = None,
    ) -> Artifact:
        """Take the weights of an encoder, and the space that it was trained to place users in."""
        tensors = encoder.state_dict()
        if item_basis is not None:
            tensors[ITEM_BASIS] = item_basis
        weights = save({k: v.contiguous() for k, v in tensors.items()})
        digest = hashlib.sha256(weights).hexdigest()
        return cls(
            encoder=name,
            options=options,
            vocabulary_version=vocabulary_version,
            vocabulary_sizes=dict(sizes),
            dimension=encoder.dimension,
            interests=encoder.interests,
            sha256=digest,
            weights=weights,
        )

    def build(self) -> Encoder:
        """The encoder, ready to read histories.

        Raises:
            IntegrityError: If the weights do not fit the description or are no finite numbers.
        """
        try:
            encoder = build_encoder(self.encoder, self.options, self.vocabulary_sizes, seed=0)
            tensors = load(self.weights)
            tensors.pop(ITEM_BASIS, None)
            encoder.load_state_dict(tensors)
        except (ConfigError, RuntimeError, SafetensorError) as error:
            raise IntegrityError(
                "The weights of a model do not fit its description.",
                expected=f"tensors of encoder {self.encoder} as {DESCRIPTION_FILE} describes it",
                found=str(error).splitlines()[0],
                to_do=TRAIN_AGAIN,
            ) from None
        spoilt = [n for n, p in encoder.named_parameters() if not torch.isfinite(p).all()]
        if spoilt:
            raise IntegrityError(
                "A model holds weights that are no numbers.",
                expected="finite weights",
                found=f"NaN or infinity in {', '.join(spoilt)}",
                to_do="train again, with a smaller train.learning_rate if it happens twice",
            )
        return encoder.eval()

    def item_basis(self) -> Tensor | None:
        """The space that the encoder was trained to place users in, [items, d], if it was."""
        return load(self.weights).get(ITEM_BASIS)

    def write(self, folder: Path) -> None:
        """Write the two files; a folder of that name is there whole or not at all.

        A folder that holds the same weights already is left as it is.

        Raises:
            OSError: If the place cannot be written.
        """
        if folder.exists():
            try:
                if read_artifact(folder) == self:
                    return
            except IntegrityError:
                pass  # a damaged model of this very content: put the good one in its place
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the rename stays on one file system. A killed run leaves a
        # folder with a leading dot, which nothing reads.
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        (unfinished / WEIGHTS_FILE).write_bytes(self.weights)
        description = {"format": FORMAT} | {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "weights"
        }
        text = json.dumps(description, indent=2, sort_keys=True)
        (unfinished / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")
        unfinished.chmod(0o755)  # mkdtemp makes it readable for its owner only
        unfinished.replace(folder)


def read_artifact(folder: Path) -> Artifact:
    """Read a model and check its weights against the checksum beside them.

    Raises:
        IntegrityError: If a file is missing, unreadable, or not what was recorded.
    """
    try:
        text = (folder / DESCRIPTION_FILE).read_text(encoding="utf-8")
        weights = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"A model cannot be read from {folder}.",
            expected=f"{WEIGHTS_FILE} and {DESCRIPTION_FILE}",
            found=str(error),
            to_do=TRAIN_AGAIN,
        ) from None
    try:
        description = json.loads(text)
        if description.pop("format") != FORMAT:
            raise ValueError("another format")
        artifact = Artifact(**description, weights=weights)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{folder / DESCRIPTION_FILE} does not describe a model.",
            expected=f"the JSON that Kinsight writes, format {FORMAT}",
            found=str(error),
            to_do=TRAIN_AGAIN,
        ) from None
    found = hashlib.sha256(weights).hexdigest()
    if found != artifact.sha256:
        raise IntegrityError(
            f"{folder / WEIGHTS_FILE} is not the file that was trained.",
            expected=f"sha256 {artifact.sha256}",
            found=f"sha256 {found}",
            to_do=TRAIN_AGAIN,
        )
    return artifact


def read_recorded(folder: Path, sha256: str, vocabulary_version: str) -> Artifact:
    """Read a model that is to be the one that table `models` names.

    Raises:
        IntegrityError: If it is missing, damaged, or another one.
    """
    artifact = read_artifact(folder)
    if (artifact.sha256, artifact.vocabulary_version) != (sha256, vocabulary_version):
        raise IntegrityError(
            f"{folder} holds another model than table models says.",
            expected=f"sha256 {sha256}, vocabulary {vocabulary_version}",
            found=f"sha256 {artifact.sha256}, vocabulary {artifact.vocabulary_version}",
            to_do=TRAIN_AGAIN,
        )
    return artifact
