"""What a person writes: one YAML file an audience."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from kinsight.config import (
    ExpandConfig,
    Name,
    Settings,
    SizesConfig,
    absolute_path,
    parse_settings,
    read_yaml,
)
from kinsight.errors import ConfigError
from kinsight.expand.scorers.registry import AUTO, CANDIDATES, FUSED, OF_HISTORIES, SCORERS

FILE_ENDINGS = (".csv", ".csv.gz", ".parquet")
EXAMPLE = "seeds: {file: seeds.csv, column: user_id}"


class FileSource(Settings):
    """A list of user ids in a CSV file with a header, or in Parquet."""

    file: str | None = Field(None, description="CSV or Parquet, relative to the audience file.")
    column: str = Field("user_id", min_length=1, description="Column that holds the user ids.")
    separator: str = Field(",", min_length=1, max_length=1, description="Between CSV columns.")
    predicate: str | None = Field(
        None, description="Condition over `users` and `user_features`, such as events > 10."
    )

    @field_validator("file")
    @classmethod
    def _readable_ending(cls, file: str | None) -> str | None:
        if file is not None and not file.lower().rstrip("/").endswith(FILE_ENDINGS):
            raise ValueError(f"a file ending in {', '.join(FILE_ENDINGS)} is expected")
        return file


class UserSource(FileSource):
    """Users by a list, a predicate, or both."""

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.file is None and self.predicate is None:
            raise ValueError("give `file`, `predicate` or both")
        return self


class SeedSource(FileSource):
    """Seeds: a list, a predicate, or a segment. Exactly one of the three."""

    segment: str | None = Field(None, description="Segment id, such as s03.")
    segmentation: Name = Field("main", description="Segmentation that the segment belongs to.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(given is not None for given in (self.file, self.predicate, self.segment)) != 1:
            raise ValueError("give exactly one of `file`, `predicate` and `segment`")
        return self


class TruthSource(FileSource):
    """Users known to belong, hidden from the expansion, by which it is measured."""

    predicate: None = None
    file: str = Field(description="CSV or Parquet, relative to the audience file.")


class AudienceDefinition(Settings):
    """One audience: whose likes are wanted, among whom, and how many."""

    name: Name
    seeds: SeedSource = Field(description="The users to find more of.")
    eligible: UserSource | None = Field(
        None, description="Who may be in the audience: in the file and true of the predicate."
    )
    suppress: UserSource | None = Field(
        None, description="Who may never be: in the file or true of the predicate."
    )
    truth: TruthSource | None = Field(
        None, description="Measures the published ranking; nothing learns from it."
    )
    minimum_seeds: int | None = Field(
        None, ge=25, description="Fewer matched seeds: refused. By default expand.minimum_seeds."
    )
    sizes: SizesConfig | None = Field(None, description="By default expand.sizes.")
    keep_seeds: bool = Field(False, description="Write the seeds too, as level `seed`.")
    scorer: str = Field(
        AUTO,
        description="What ranks the members: a scorer, `fused` for the candidates together, or "
        "`auto` for the same unless one is surely better alone.",
    )
    candidates: list[str] = Field(
        default_factory=lambda: list(CANDIDATES),
        min_length=2,
        description="With `scorer: auto` or fused: what it chooses from, or puts together.",
    )
    valid_days: int | None = Field(None, ge=1, description="By default expand.valid_days.")

    @field_validator("scorer")
    @classmethod
    def _known_scorer(cls, name: str) -> str:
        return _known(name, [AUTO, FUSED, *SCORERS])

    @field_validator("candidates")
    @classmethod
    def _known_candidates(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("a scorer is named twice")
        return [_known(name, SCORERS) for name in names]

    @model_validator(mode="after")
    def _candidates_of_auto(self) -> Self:
        if "candidates" in self.model_fields_set and self.scorer not in (AUTO, FUSED):
            raise ValueError(
                f"`candidates` are for `scorer: auto` or fused; {self.scorer} is named here"
            )
        return self

    @model_validator(mode="after")
    def _some_size(self) -> Self:
        if self.sizes is not None and not (self.sizes.shares or self.sizes.counts):
            raise ValueError("`sizes` needs a share or a count")
        return self

    @property
    def tried(self) -> list[str]:
        """The scorers that are measured on hidden seeds."""
        return self.candidates if self.scorer in (AUTO, FUSED) else [self.scorer]

    @property
    def reads_histories(self) -> bool:
        """Whether one of them reads histories."""
        return not {*self.tried}.isdisjoint(OF_HISTORIES)

    @property
    def sources(self) -> dict[str, FileSource]:
        """The given sources of users by their use: seeds, eligible, suppress, truth."""
        given: dict[str, FileSource | None] = {
            "seeds": self.seeds,
            "eligible": self.eligible,
            "suppress": self.suppress,
            "truth": self.truth,
        }
        return {use: source for use, source in given.items() if source is not None}


def _known(name: str, known: Collection[str]) -> str:
    """The name, if it is known."""
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise ValueError(f"no scorer {name!r} ({hint})")
    return name


def load_audiences(config: ExpandConfig) -> list[AudienceDefinition]:
    """Read every audience file of the configured folder, by name.

    Args:
        config: Says the folder.

    Raises:
        ConfigError: If there is no folder or no file in it, a file is wrong, or two have one name.
    """
    if config.folder is None or not Path(config.folder).is_dir():
        raise ConfigError(
            "There is no folder of audience files.",
            expected="`expand: {folder: PATH}`, and one YAML file an audience in that folder",
            found="no such setting" if config.folder is None else f"no folder {config.folder}",
            to_do=f"make the folder and put a file such as kids.yaml there: `{EXAMPLE}`",
        )
    if not (config.sizes.shares or config.sizes.counts):
        raise ConfigError(
            "Audiences have no size.",
            expected="a share or a count in `expand.sizes`",
            found="neither",
            to_do="name one, such as {shares: [0.05]}",
        )
    folder = Path(config.folder)
    files = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    if not files:
        raise ConfigError(
            f"The folder {folder} holds no audience.",
            expected="one YAML file an audience",
            found=", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "an empty folder",
            to_do=f"put a file such as kids.yaml there: `{EXAMPLE}`",
        )
    by_name: dict[str, tuple[Path, AudienceDefinition]] = {}
    for file in files:
        audience = read_audience(file)
        if audience.name in by_name:
            raise ConfigError(
                f"Two audiences are called {audience.name}.",
                expected="one file an audience name",
                found=f"{by_name[audience.name][0].name} and {file.name}",
                to_do="rename one (`name:`, or the file)",
            )
        by_name[audience.name] = (file, audience)
    return [by_name[name][1] for name in sorted(by_name)]


def read_audience(file: Path) -> AudienceDefinition:
    """Read one audience file; its name is the file's unless it gives one.

    Raises:
        ConfigError: If a key or value is wrong.
    """
    data = {"name": file.stem, **read_yaml(file)}
    if "scorers" in data:
        raise ConfigError(
            f"{file.name}: `scorers` is not a setting.",
            expected="`scorer:` auto or one name, and `candidates:` for what auto chooses from",
            found=f"scorers: {data['scorers']}",
            to_do="rename it to `candidates`, or to `scorer` where it names one",
        )
    for key in ("seeds", "eligible", "suppress", "truth"):
        source = data.get(key)
        if isinstance(source, dict) and isinstance(source.get("file"), str):
            path = absolute_path(source["file"], file.resolve().parent)
            data[key] = source | {"file": path}
    return parse_settings(AudienceDefinition, data, file)
