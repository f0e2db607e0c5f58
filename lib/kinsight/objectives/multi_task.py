"""Several labels on one user vector, each read through a gate of its own; one label only measured.

Source: Ni et al., DUPN (arXiv 1805.10727): joint losses on one shared vector, and one task held out
of training to see whether the vector serves what it was not made for. Liu et al., DTRN (arXiv
2308.05996): a squeeze-and-excite gate a task over the fields of the vector.

Labels need no hand: they are read from what follows (``next_events``). Of the event that is to be
predicted: its category, brand, price bucket, type, and the bucket of the time since the event
before; and whether the user buys then or later. The vector z, [d], is cut into G fields; a task
reads g · z with g = 2 sigmoid(W2 relu(W1 m)), m the mean of each field, [G], so all gates begin at
1; then one linear layer and cross-entropy. Losses of the tasks add up, each with the same weight.

`held_out` is not trained: a logistic head is fitted on the frozen vectors of half of the held-out
users and measured on the other half. Left out: DUPN's ranking and click tasks, which need what was
shown and not taken; DTRN's reading of each type of event by parameters of its own, which would have
to be in the encoder.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.histories import Histories
from kinsight.errors import RefusedError
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.item_softmax import require_order
from kinsight.objectives.labels import Task, classes_of, labels_of
from kinsight.objectives.next_events import main_vectors_before, split_at_random_time
from kinsight.objectives.probing import head_quality, quality
from kinsight.objectives.ranking import SCORES_AT_MOST
from kinsight.objectives.vectors import user_vectors


class MultiTaskOptions(Settings):
    """Options of `multi_task`."""

    tasks: list[Task] = Field(
        default=["next_category", "next_price", "next_type", "will_buy"],
        min_length=1,
        description="What is learned; of the default, what the vocabulary cannot serve is left "
        "out.",
    )
    held_out: Task | None = Field(
        "next_brand", description="Measured, never learned; where the vocabulary serves it."
    )
    fields: int = Field(8, ge=2, description="Parts of the vector that a task's gate weighs.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("`tasks` names one twice")
        if self.held_out in self.tasks:
            raise ValueError("`held_out` is among `tasks`: what is learned cannot test transfer")
        return self


class TaskHead(nn.Module):
    """Gate and classes of one task; see the module.

    Args:
        width: Width d of the user vector.
        fields: Fields G that it is cut into; the last may be narrower.
        classes: Labels.
    """

    def __init__(self, width: int, fields: int, classes: int) -> None:
        super().__init__()
        self.fields = fields
        self.part = -(-width // fields)
        self.excite = nn.Sequential(nn.Linear(fields, fields), nn.ReLU(), nn.Linear(fields, fields))
        self.scores = nn.Linear(width, classes)
        with torch.no_grad():
            for weight in self.excite[2].parameters():
                weight.zero_()

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits, [n, classes], of vectors [n, d]."""
        width = vectors.shape[1]
        squeezed = F.pad(vectors, (0, self.part * self.fields - width))
        squeezed = squeezed.view(len(vectors), self.fields, self.part).mean(2)
        gate = 2 * self.excite(squeezed).sigmoid().repeat_interleave(self.part, dim=1)
        scores: Tensor = self.scores(gate[:, :width] * vectors)
        return scores


class MultiTask(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: What labels the vocabulary serves.
        options: Tasks and fields.

    Raises:
        RefusedError: If the vocabulary serves none of the tasks, or not one that was asked for.
    """

    options_type: ClassVar[type[Settings]] = MultiTaskOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: MultiTaskOptions) -> None:
        super().__init__(encoder, data, options)
        self.data = data
        asked = options.model_fields_set
        served = {task: classes_of(task, data) for task in options.tasks}
        missing = [task for task, classes in served.items() if classes < 2]
        wanted = list(missing) if "tasks" in asked or len(missing) == len(served) else []
        self.held_out = options.held_out
        if self.held_out and classes_of(self.held_out, data) < 2:
            wanted += [self.held_out] if "held_out" in asked else []
            self.held_out = None
        if wanted:
            raise RefusedError(
                "The data have no labels for a task.",
                expected="at least 2 values in the vocabulary of each task's field, and purchases "
                "among other events for will_buy",
                found=f"fewer for {', '.join(wanted)}",
                to_do="map the column, or name other tasks in train.objective",
            )
        self.heads = nn.ModuleDict(
            {
                task: TaskHead(encoder.dimension, options.fields, classes)
                for task, classes in served.items()
                if classes > 1
            }
        )

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse histories without any order.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        require_order(data)

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are next events with any known label."""
        vectors, users, places = main_vectors_before(encoder, batch, draws)
        labels = {t: labels_of(t, batch, self.data)[users, places] for t in self.heads}
        known = torch.stack(list(labels.values())).amax(0) >= 0
        chosen = torch.nonzero(known)[:, 0]
        widest = max(classes_of(task, self.data) for task in labels)
        most = max(1, SCORES_AT_MOST // widest)
        if len(chosen) > most:
            chosen = chosen[torch.randperm(len(chosen), generator=draws)[:most]]
        vectors = vectors[chosen]
        if not len(chosen):
            return Loss(vectors.sum(), 0)
        total = vectors.sum() * 0.0
        for task, head in self.heads.items():
            label = labels[task][chosen]
            if (label >= 0).any():
                total = total + F.cross_entropy(
                    head(vectors), label, ignore_index=-1, reduction="sum"
                )
        return Loss(total, len(chosen))

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """How well the tasks are solved, each at one random time a user.

        Returns:
            For each task ``…_accuracy`` beside ``…_majority`` (the most frequent label of all), or
            ``will_buy_auc`` (.5 by chance); the same of the held-out task with ``held_out_`` in
            front, by a head fitted on half of the users. A task without two labels to measure is
            left out.
        """
        vectors, labels = self._at_random_times(encoder, held_out, tokens)
        found: dict[str, float] = {}
        for task, head in self.heads.items():
            known = labels[task] >= 0
            found |= quality(task, head(vectors[known]), labels[task][known])
        if self.held_out:
            solved = head_quality(self.held_out, vectors, labels[self.held_out])
            found |= {f"held_out_{name}": value for name, value in solved.items()}
        return found

    def _at_random_times(
        self, encoder: Encoder, histories: Histories, tokens: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A vector a user with two distinct times, and the labels of what follows."""
        draws = torch.Generator().manual_seed(0)
        tasks = [*self.heads, *([self.held_out] if self.held_out else [])]
        vectors = [torch.zeros(0, encoder.dimension)]
        labels: dict[str, list[Tensor]] = {t: [torch.zeros(0, dtype=torch.int64)] for t in tasks}
        for batch in batches_by_length(histories, tokens):
            past, following = split_at_random_time(batch, draws)
            users = torch.nonzero(following.any(1))[:, 0]
            vectors.append(user_vectors(encoder, past)[users])
            for task in tasks:
                labels[task].append(labels_of(task, batch, self.data)[users, past.length[users]])
        return torch.cat(vectors), {task: torch.cat(parts) for task, parts in labels.items()}
