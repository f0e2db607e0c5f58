"""What every encoder promises, and what the transformer's options do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from kinsight.encoders.artifact import DESCRIPTION_FILE, WEIGHTS_FILE, Artifact, read_artifact
from kinsight.encoders.base import Encoder, QueryEncoder, event_reader
from kinsight.encoders.batch import Batch
from kinsight.encoders.event_input import gap_bucket
from kinsight.encoders.gru import mean_by_time
from kinsight.encoders.histories import Histories
from kinsight.encoders.registry import ENCODERS, build_encoder, encoder_options
from kinsight.encoders.transformer import times_back
from kinsight.errors import ConfigError, IntegrityError
from tests.histories import SIZES, from_items, random_histories

SMALL = {"width": 16}
POOLINGS = ("mean", "last", "max", "mean_std", "attention", "cls")
VARIANTS = [
    *[(name, {}) for name in ENCODERS],
    *[("gru", {"pooling": pooling, "hidden": 24}) for pooling in POOLINGS[1:-1]],
    ("gru", {"bidirectional": True, "layers": 2}),
    ("gru", {"bidirectional": True, "pooling": "last"}),
    *[("transformer", {"pooling": pooling}) for pooling in POOLINGS[1:]],
    *[("transformer", {"pooling": pooling, "causal": False}) for pooling in POOLINGS],
    ("transformer", {"fields": ["item", "gap"]}),
    ("transformer", {"relative_positions": 3}),
    ("transformer", {"relative_positions": 1, "causal": False, "pooling": "cls"}),
    ("property_gated_lstm", {"hidden": 24, "pooling": "last"}),
    ("property_gated_lstm", {"fields": ["item"]}),
    ("time_attention_bilstm", {"layers": 2}),
    ("multi_interest", {"interests": 2, "fields": ["item"]}),
    ("multi_interest", {"routing": "dynamic"}),
    ("folded", {"fold_by": "item", "layers": 2}),
    ("folded", {"fold_by": "brand", "pooling": "attention"}),
    ("scenario", {"causal": False, "pooling": "mean"}),
    ("scenario", {"scenario_fields": ["brand"], "layers": 3}),
    *[("decoupled_attention", {"pooling": pooling}) for pooling in ("last", "max")],
    ("hash_bucket", {"bits": 12, "bits_a_signature": 2}),
    ("long_term_prefix", {"recent_events": 3, "frozen_width": 8}),
    ("long_term_prefix", {"recent_events": 1, "pooling": "last", "frozen_width": 8}),
]


@pytest.fixture(params=VARIANTS, ids=lambda v: "-".join([v[0], *map(str, v[1].values())]))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    name, options = request.param
    return build_encoder(name, SMALL | options, SIZES, seed=3).eval()


def vectors(encoder: Encoder, histories: Histories) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.read(encoder.encode(Batch.of(histories)))


def test_gives_k_finite_vectors_a_user(encoder: Encoder) -> None:
    read = vectors(encoder, random_histories([5, 1, 12]))
    assert read.shape == (3, encoder.interests, encoder.dimension)
    assert read.dtype == torch.float32
    assert torch.isfinite(read).all()
    assert encoder.item_vectors().shape[0] == SIZES["item"]


def test_padding_changes_nothing(encoder: Encoder) -> None:
    histories = random_histories([3, 7, 1, 40])
    together = vectors(encoder, histories)
    for user in range(len(histories)):
        alone = vectors(encoder, histories.take(np.array([user])))
        assert torch.allclose(together[user], alone[0], atol=1e-5)


def test_the_order_of_users_changes_nothing(encoder: Encoder) -> None:
    histories = random_histories([4, 9, 2, 9, 6])
    order = np.array([3, 0, 4, 1, 2])
    moved = vectors(encoder, histories.take(order))
    assert torch.allclose(vectors(encoder, histories)[order], moved, atol=1e-6)


def test_events_of_one_time_can_be_swapped(encoder: Encoder) -> None:
    # Positions and gaps are those of the time, so not even they tell a basket's lines apart.
    basket = [(3, 1), (4, 2), (5, 2), (6, 2), (7, 3), (8, 3)]
    swapped = [(3, 1), (6, 2), (4, 2), (5, 2), (8, 3), (7, 3)]
    one, other = vectors(encoder, from_items([basket, swapped]))
    assert torch.allclose(one, other, atol=1e-5)


def test_no_field_tells_the_order_of_a_basket(encoder: Encoder) -> None:
    histories = random_histories([30, 1, 9, 17])
    user = np.repeat(np.arange(4), histories.length)
    draws = np.random.default_rng(6).random(histories.events)
    order = np.lexsort((draws, histories.columns["seconds"], user))
    columns = {name: values[order] for name, values in histories.columns.items()}
    assert not np.array_equal(order, np.arange(histories.events))
    shuffled = Histories(columns, histories.length)
    assert torch.allclose(vectors(encoder, histories), vectors(encoder, shuffled), atol=1e-5)


def test_different_histories_get_different_vectors(encoder: Encoder) -> None:
    one, other = vectors(encoder, from_items([[(3, 1), (4, 2)], [(3, 1), (9, 2)]]))
    assert not torch.allclose(one, other, atol=1e-3)


def test_items_of_a_later_vocabulary_read_as_unknown(encoder: Encoder) -> None:
    new, unknown = vectors(encoder, from_items([[(3, 1), (999, 2)], [(3, 1), (1, 2)]]))
    torch.testing.assert_close(new, unknown, rtol=1e-5, atol=1e-5)


def test_equal_seeds_give_equal_weights(encoder: Encoder, request: pytest.FixtureRequest) -> None:
    name, options = request.node.callspec.params["encoder"]
    again = build_encoder(name, SMALL | options, SIZES, seed=3).state_dict()
    other = build_encoder(name, SMALL | options, SIZES, seed=4)
    assert all(torch.equal(value, again[key]) for key, value in encoder.state_dict().items())
    assert not torch.equal(encoder.item_vectors(), other.item_vectors())


def test_one_event_and_items_that_nobody_knows_get_finite_vectors(encoder: Encoder) -> None:
    unknown = [(1, 1), (999, 1), (1, 2), (998, 9)]
    read = vectors(encoder, from_items([[(3, 1)], [(1, 1)], unknown]))
    assert torch.isfinite(read).all()
    again = vectors(encoder, from_items([unknown]))
    assert torch.allclose(read[2], again[0], atol=1e-5)


def test_the_weights_of_a_user_add_up_and_the_main_vector_comes_first(encoder: Encoder) -> None:
    with torch.inference_mode():
        weights = encoder.weights(encoder.encode(Batch.of(random_histories([5, 1, 12]))))
    assert weights.shape == (3, encoder.interests)
    assert torch.allclose(weights.sum(1), torch.ones(3))
    assert (weights > 0).all()
    assert (weights.diff(dim=1) <= 0).all()


def test_several_vectors_are_as_wide_as_those_of_items(encoder: Encoder) -> None:
    assert encoder.interests == 1 or encoder.dimension == encoder.item_vectors().shape[1]


def test_a_query_changes_the_vector_of_those_who_answer_one(encoder: Encoder) -> None:
    state = encoder.encode(Batch.of(random_histories([20, 6, 11], seed=2)))
    plain = encoder.read(state)
    if not isinstance(encoder, QueryEncoder):
        assert torch.equal(encoder.read(state, torch.randn(3, 5)), plain)
        return
    queries = [encoder.query_of(torch.tensor([[item, 0]] * 3)) for item in range(2, 12)]
    answers = [encoder.read(state, query) for query in queries]
    assert all(answer.shape == plain.shape for answer in answers)
    assert all(torch.isfinite(answer).all() for answer in answers)
    assert not all(torch.allclose(answer, answers[0], atol=1e-4) for answer in answers)


def test_a_query_is_the_mean_of_its_items(encoder: Encoder) -> None:
    if isinstance(encoder, QueryEncoder):
        alone = encoder.query_of(torch.tensor([[3, 0], [7, 0], [999, 0], [1, 0], [0, 0]]))
        both = encoder.query_of(torch.tensor([[3, 7, 0]]))
        assert torch.allclose(both[0], (alone[0] + alone[1]) / 2, atol=1e-6)
        assert torch.equal(alone[2], alone[3])
        assert not alone[4].any()


def test_gradients_reach_the_weights_and_are_finite(encoder: Encoder) -> None:
    encoder.train()
    state = encoder.encode(Batch.of(random_histories([1, 6, 11])))
    (encoder.read(state).square().sum() + state.events.square().sum()).backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_saved_and_read_again_it_is_the_same(
    encoder: Encoder, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name, options = request.node.callspec.params["encoder"]
    artifact = Artifact.of(encoder, name, SMALL | options, "v1", SIZES)
    artifact.write(tmp_path / "model")
    again = read_artifact(tmp_path / "model")
    assert again == artifact
    histories = random_histories([5, 2])
    assert torch.equal(vectors(encoder, histories), vectors(again.build(), histories))


def test_the_vector_after_an_event_is_that_of_the_history_up_to_its_time(encoder: Encoder) -> None:
    causal = event_reader(encoder)
    if causal is None:
        pytest.skip("it sees the whole history at once")
    histories = random_histories([12])
    batch = Batch.of(histories)
    with torch.inference_mode():
        after = causal.read_at_events(encoder.encode(batch))[0]
    for event in range(12):
        past = histories.head(batch.next_group_start[:, event].numpy())
        assert torch.allclose(after[event], vectors(encoder, past)[0, 0], atol=1e-4)


def test_a_causal_event_never_reads_its_own_time_or_later_ones() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=3).eval()
    history = [(3, 1), (4, 2), (5, 2), (6, 3)]
    with torch.inference_mode():
        before = encoder.encode(Batch.of(from_items([history]))).events[0]
        changed = [(3, 1), (4, 2), (9, 2), (7, 3)]
        after = encoder.encode(Batch.of(from_items([changed]))).events[0]
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2:], after[2:], atol=1e-3)


def test_positions_are_counted_in_times_and_later_events_have_their_own() -> None:
    batch = Batch.of(from_items([[(3, 1), (4, 2), (5, 2), (6, 3), (7, 4)]]))
    assert times_back(batch, 3, causal=False)[0].tolist() == [
        [0, 3, 3, 4, 5],
        [1, 0, 0, 3, 4],
        [1, 0, 0, 3, 4],
        [2, 1, 1, 0, 3],
        [2, 2, 2, 1, 0],
    ]
    assert times_back(batch, 3, causal=True)[0, 0].tolist() == [0] * 5
    assert times_back(batch, 1, causal=False)[0, 0].tolist() == [0, 1, 1, 1, 1]


def test_relative_positions_tell_the_latest_event_from_earlier_ones() -> None:
    options = SMALL | {"fields": ["item"], "layers": 1}
    histories = from_items([[(3, 1), (4, 2), (5, 3)], [(4, 1), (3, 2), (5, 3)]])
    without = build_encoder("transformer", options | {"pooling": "last"}, SIZES, seed=3).eval()
    one, other = vectors(without, histories)
    assert torch.allclose(one, other, atol=1e-6)
    relative = options | {"pooling": "last", "relative_positions": 4}
    encoder = build_encoder("transformer", relative, SIZES, seed=3).eval()
    with torch.no_grad():
        [table] = [p for name, p in encoder.named_parameters() if name.endswith("position_bias")]
        table[1] += 2.0
    one, other = vectors(encoder, histories)
    assert not torch.allclose(one, other, atol=1e-3)


def test_a_basket_is_one_step_of_the_gru() -> None:
    encoder = build_encoder("gru", SMALL, SIZES, seed=3).eval()
    with torch.inference_mode():
        state = encoder.encode(Batch.of(from_items([[(3, 1), (4, 2), (5, 2), (6, 3)], [(3, 1)]])))
        changed = encoder.encode(Batch.of(from_items([[(3, 1), (4, 2), (5, 2), (9, 3)]])))
    assert torch.equal(state.events[0, 1], state.events[0, 2])
    assert torch.allclose(state.events[0, :3], changed.events[0, :3], atol=1e-6)
    assert not torch.allclose(state.events[0, 3], changed.events[0, 3], atol=1e-3)


def test_the_mean_of_a_time_counts_its_events_only() -> None:
    batch = Batch.of(from_items([[(3, 1), (4, 1), (5, 2)], [(3, 1)]]))
    events = torch.tensor([[[2.0], [4.0], [5.0]], [[7.0], [0.0], [0.0]]])
    assert mean_by_time(batch, events).tolist() == [[[3.0], [5.0]], [[7.0], [0.0]]]


def test_gaps_are_measured_between_times() -> None:
    histories = from_items([[(3, 1), (4, 1), (5, 2), (6, 2), (7, 2)]])
    histories.columns["seconds"][:] = [10, 10, 10 + 4, 14, 14]
    assert gap_bucket(Batch.of(histories))[0].tolist() == [1, 1, 4, 4, 4]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("transfomer", {}, "did you mean `transformer`"),
        ("transformer", {"widht": 3}, "did you mean `width`"),
        ("transformer", {"width": 30, "heads": 4}, "not a multiple"),
        ("transformer", {"fields": ["brand"]}, "must hold `item`"),
        ("gru", {"fields": ["item", "item"]}, "each field once"),
        ("gru", {"pooling": "cls"}, "pooling"),
        ("folded", {"width": 30, "heads": 4}, "not a multiple"),
        ("hash_bucket", {"bits": 10}, "not a multiple of `bits_a_signature`"),
        ("hash_bucket", {"bits": 64, "bits_a_signature": 8}, "2048 buckets"),
        ("scenario", {"scenario_fields": ["item"]}, "and not `item`"),
        ("multi_interest", {"interests": 1}, "interests"),
    ],
)
def test_a_wrong_configuration_is_named(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        encoder_options(name, options)


def test_a_changed_weights_file_is_refused_with_both_checksums(tmp_path: Path) -> None:
    artifact = kept(build_encoder("transformer", SMALL, SIZES, seed=3))
    artifact.write(tmp_path / "model")
    file = tmp_path / "model" / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(IntegrityError) as refused:
        read_artifact(tmp_path / "model")
    assert artifact.sha256 in refused.value.expected
    assert refused.value.found.startswith("sha256")


@pytest.mark.parametrize("spoil", ["missing", "no JSON", "other fields"])
def test_a_damaged_description_is_refused(spoil: str, tmp_path: Path) -> None:
    kept(build_encoder("transformer", SMALL, SIZES, seed=3)).write(tmp_path / "model")
    file = tmp_path / "model" / DESCRIPTION_FILE
    if spoil == "missing":
        file.unlink()
    else:
        file.write_text("{" if spoil == "no JSON" else '{"format": 1}')
    with pytest.raises(IntegrityError):
        read_artifact(tmp_path / "model")


def test_writing_replaces_a_damaged_folder_and_leaves_nothing_beside(tmp_path: Path) -> None:
    artifact = kept(build_encoder("transformer", SMALL, SIZES, seed=3))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / WEIGHTS_FILE).write_bytes(b"half")
    artifact.write(tmp_path / "model")
    artifact.write(tmp_path / "model")
    assert read_artifact(tmp_path / "model") == artifact
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_weights_that_are_no_numbers_or_do_not_fit_are_refused() -> None:
    encoder = build_encoder("transformer", SMALL, SIZES, seed=3)
    wrong = dataclasses.replace(kept(encoder), vocabulary_sizes=SIZES | {"item": 31})
    with pytest.raises(IntegrityError, match="do not fit"):
        wrong.build()
    with torch.no_grad():
        encoder.item_vectors()[3, 0] = torch.nan
    with pytest.raises(IntegrityError, match="no numbers"):
        kept(encoder).build()


def kept(encoder: Encoder) -> Artifact:
    """The artifact of a small transformer."""
    return Artifact.of(encoder, "transformer", SMALL, "v1", SIZES)
