"""The loss `masked_history`: thinned histories come to lie near full ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinsight.encoders.base import Encoder
from kinsight.encoders.batch import Batch
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import build_encoder
from kinsight.errors import ConfigError, RefusedError
from kinsight.objectives.masked_history import MaskedHistory
from tests.histories import SIZES, from_items, make_objective, random_histories, train, training_set

SMALL = {"width": 16, "dropout": 0.0, "fields": ["item"]}
ENCODERS = [("gru", {"hidden": 16}), ("transformer", {"causal": False, "pooling": "attention"})]


def keepers(users: int, seed: int) -> Histories:
    """Each day one of a user's own three items, among 12 to 29, and three that anybody meets."""
    rng = np.random.default_rng(seed)
    own = [rng.choice(np.arange(12, 30), 3, replace=False) for _ in range(users)]
    return from_items(
        [
            [(int(i), day) for day in range(8) for i in (rng.choice(o), *rng.integers(2, 12, 3))]
            for o in own
        ]
    )


def masked_history(encoder: Encoder, **options: object) -> MaskedHistory:
    objective = make_objective("masked_history", encoder, **options)
    assert isinstance(objective, MaskedHistory)
    return objective


@pytest.mark.parametrize(("name", "options"), ENCODERS)
def test_thinned_histories_come_nearer_to_full_ones_than_others_do(
    name: str, options: dict[str, object]
) -> None:
    encoder = build_encoder(name, SMALL | options, SIZES, seed=1)
    objective = masked_history(encoder)

    def measured() -> dict[str, float]:
        with torch.inference_mode():
            return objective.measures(encoder.eval(), keepers(100, 2), 4_096)

    before = measured()
    train(encoder, objective, keepers(400, 1), steps=80)
    after = measured()
    assert before.keys() == after.keys()
    assert sum(value for key, value in after.items() if key.startswith("thin_users")) == 100
    for length in ("3_5", "6_20"):
        assert after[f"thin_cosine_{length}"] > before[f"thin_cosine_{length}"] + 0.05
        assert after[f"thin_nearer_{length}"] > before[f"thin_nearer_{length}"]


def test_a_thinned_history_keeps_some_times_whole() -> None:
    batch = Batch.of(random_histories([30, 12, 18], 5))
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    thin = masked_history(encoder).thinned(batch, torch.Generator().manual_seed(1))
    for user in range(3):
        whole = batch.seconds[user, : int(batch.length[user])].tolist()
        kept = thin.seconds[user, : int(thin.length[user])].tolist()
        assert 1 <= len(set(kept)) <= max(1, round(0.5 * len(set(whole))))
        assert kept == [second for second in whole if second in set(kept)]


def test_refusals_name_what_would_serve() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=1)
    with pytest.raises(ConfigError, match="greater than"):
        masked_history(encoder, least_kept=0.9)
    with pytest.raises(RefusedError, match="too few users"):
        MaskedHistory.require(training_set(longest=5_000))
