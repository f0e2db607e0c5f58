"""Predict when the next events come, and of which types.

Source: Xue et al., PromptTPP (arXiv 2310.04993): a marked temporal point process with intensity
softplus(linear(h)), loss -Σ log λ_k(t) + ∫ Σ_k λ_k by Monte Carlo (20 samples), and a pool of
prompts (10 keys, the top 5 by cosine, -.1 · Σ cos(query, chosen keys)).

For the vector h of a history and a time τ seconds after its last event, with s = log(1 + τ / 60):
λ_k(s) = softplus(u_k · gelu(W h + V φ(s) + c) + b_k) a unit of s, φ(s) = s and its sines and
cosines, and c what h reads by attention from the chosen prompts. Gaps run from seconds to months;
on this scale intensities are near 1 all over, and the likelihood is that of seconds but for the
constant ds/dτ. One target a distinct time: its types are events of as many streams, however many
events bear them. Which vector predicts which time: ``next_events``. The samples of an integral are
one in each twentieth of it.

Left out: that nothing came after the last event, for a history does not say when it was written;
prompts as prefixes inside the encoder, and their majority over a batch, by which one user's
intensity would hang on others'; freezing prompts or encoder between refreshes. The pool belongs to
the objective: it is not part of the model that stage `embed` reads.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from kinsight.config import Settings
from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch, batches_by_length
from kinsight.encoders.event_input import UNKNOWN
from kinsight.encoders.histories import Histories
from kinsight.errors import RefusedError
from kinsight.objectives.base import Loss, Objective, TrainingSet
from kinsight.objectives.next_events import main_vectors_before

TIME_UNIT = 60.0
"""Seconds below which gaps are hardly told apart."""
DAY = 86_400.0
WAVES = 8
"""Sines and cosines of s each, of periods from 16 down to 1/8, in e-folds of the time since."""


class EventTimeOptions(Settings):
    """Options of `event_time`."""

    hidden: int = Field(32, ge=4, description="Width of the intensity's hidden layer.")
    samples: int = Field(20, ge=1, description="Points at which an integral is sampled.")
    prompts: int = Field(10, ge=1, description="Keys in the pool.")
    chosen: int = Field(5, ge=1, description="Prompts that a history reads, by cosine.")
    prompt_length: int = Field(5, ge=1, description="Vectors a prompt.")
    key_weight: float = Field(0.1, ge=0, description="Weight of the chosen keys' cosines.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.chosen > self.prompts:
            raise ValueError("`chosen` is greater than `prompts`")
        return self


class EventTime(Objective):
    """The loss; see the module.

    Args:
        encoder: The encoder to train.
        data: How many event types there are.
        options: Sizes.
    """

    options_type: ClassVar[type[Settings]] = EventTimeOptions

    def __init__(self, encoder: Encoder, data: TrainingSet, options: EventTimeOptions) -> None:
        super().__init__(encoder, data, options)
        self.options = options
        self.types = len(data.type_frequency) - UNKNOWN - 1
        width, hidden = encoder.dimension, options.hidden
        self.of_history = nn.Linear(width, hidden)
        self.of_time = nn.Linear(1 + 2 * WAVES, hidden)
        self.intensity = nn.Linear(hidden, self.types)
        self.query = nn.Linear(width, hidden)
        self.keys = nn.Parameter(torch.randn(options.prompts, width))
        prompts = torch.randn(2, options.prompts, options.prompt_length, hidden)
        self.prompts = nn.Parameter(prompts / math.sqrt(hidden))

    @classmethod
    def require(cls, data: TrainingSet) -> None:
        """Refuse histories without any order.

        Raises:
            RefusedError: Saying what is missing and what to do.
        """
        if data.users_with_order == 0 or not (data.type_frequency[UNKNOWN + 1 :] > 0).any():
            raise RefusedError(
                "There is no next time to predict.",
                expected="users with events of known types at two or more distinct times",
                found=f"{data.users_with_order} of {data.users} users",
                to_do="check the columns mapped to event_time and event_type",
            )

    def forward(self, encoder: Encoder, batch: Batch, draws: torch.Generator) -> Loss:
        """The loss of an encoder on a batch; its targets are distinct times after the first."""
        vectors, gap, types = self._targets(encoder, batch, draws)
        if not len(gap):
            return Loss(vectors.sum(), 0)
        history, cosines = self._history(vectors)
        total = -self._log_likelihood(history, gap, types, draws).sum()
        return Loss(total - self.options.key_weight * cosines.sum(), len(gap))

    def measures(self, encoder: Encoder, held_out: Histories, tokens: int) -> dict[str, float]:
        """How likely the next times and types are, beside a constant rate of each type.

        The rates are those of the held-out users themselves, the best that constants can be.

        Returns:
            ``event_time_log_likelihood`` and ``constant_rate_log_likelihood``, both in nats a
            distinct time with days as the unit, and ``event_times``; nothing without any.
        """
        draws = torch.Generator().manual_seed(0)
        total, gaps, counts = 0.0, [], torch.zeros(self.types)
        for batch in batches_by_length(held_out, tokens):
            vectors, gap, types = self._targets(encoder, batch, draws)
            if not len(gap):
                continue
            found = self._log_likelihood(self._history(vectors)[0], gap, types, draws)
            # From a unit of s to a day, for each type that came.
            total += float((found + types.sum(1) * (DAY / (TIME_UNIT + gap)).log()).sum())
            gaps.append(gap)
            counts += types.sum(0)
        if not gaps:
            return {}
        times, days = sum(map(len, gaps)), float(torch.cat(gaps).double().sum()) / DAY
        present = counts[counts > 0]
        constant = float((present * (present / days).log()).sum() - present.sum())
        return {
            "event_time_log_likelihood": total / times,
            "constant_rate_log_likelihood": constant / times,
            "event_times": float(times),
        }

    def _targets(
        self, encoder: Encoder, batch: Batch, draws: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One row a target: vector [N, d], seconds to it [N], types of known events [N, K].

        Both of the last are float32; a time without any known type is no target.
        """
        vectors, users, places = main_vectors_before(encoder, batch, draws)
        group = batch.group[users, places]
        # Each event of a time may stand as a target; the first row of each time is taken.
        time = users * batch.item.shape[1] + group
        order = time.argsort(stable=True)
        first = torch.ones(len(time), dtype=torch.bool)
        first[1:] = time[order][1:] != time[order][:-1]
        rows = order[first]
        users, places, group = users[rows], places[rows], group[rows]
        begin = batch.group_start[users, places]
        gap = batch.seconds[users, begin] - batch.seconds[users, begin - 1]
        kind = batch.event_type[users] - UNKNOWN - 1
        counts = batch.present[users] & (batch.group[users] == group[:, None])
        counts &= (kind >= 0) & (kind < self.types)
        types = torch.zeros(len(rows), self.types)
        which, event = torch.nonzero(counts, as_tuple=True)
        types[which, kind[which, event]] = 1.0
        known = types.any(1)
        return vectors[rows[known]], gap[known].float(), types[known]

    def _history(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """What intensities know of each history, [N, hidden], and the cosines of its keys, [N]."""
        # The query only chooses: keys move to histories, not histories to keys.
        alike = F.normalize(vectors.detach(), dim=1) @ F.normalize(self.keys, dim=1).T
        cosines, chosen = alike.topk(self.options.chosen, dim=1)
        hidden = self.options.hidden
        key, value = self.prompts[:, chosen].reshape(2, len(vectors), -1, hidden)
        score = (key @ self.query(vectors)[..., None])[..., 0] / math.sqrt(hidden)
        read = (score.softmax(1)[..., None] * value).sum(1)
        return self.of_history(vectors) + read, cosines.sum(1)

    def _log_likelihood(
        self, history: Tensor, gap: Tensor, types: Tensor, draws: torch.Generator
    ) -> Tensor:
        """Of each target, [N], with s as the unit of time."""
        end = (gap / TIME_UNIT).log1p()
        at_end = self._intensities(history, end[:, None])[:, 0]
        samples = self.options.samples
        lots = torch.rand(len(gap), samples, generator=draws)
        within = end[:, None] * (torch.arange(samples) + lots) / samples
        integral = end * self._intensities(history, within).sum(2).mean(1)
        return (types * at_end.clamp(min=1e-12).log()).sum(1) - integral

    def _intensities(self, history: Tensor, s: Tensor) -> Tensor:
        """Of each type at some times s, [N, S]; [N, S, K]."""
        angle = s[..., None] * (2 * math.pi / 16) * 2.0 ** torch.arange(WAVES)
        time = torch.cat([s[..., None], angle.sin(), angle.cos()], dim=2)
        hidden = F.gelu(history[:, None] + self.of_time(time))
        return F.softplus(self.intensity(hidden))
