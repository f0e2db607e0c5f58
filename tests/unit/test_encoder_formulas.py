"""Each encoder of the papers against its formula, computed the plain way."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kinsight.encoders.base import EncoderState
from kinsight.encoders.batch import Batch
from kinsight.encoders.decoupled_attention import DecoupledAttention
from kinsight.encoders.folded import Folded, Folds
from kinsight.encoders.hash_bucket import HashBucket
from kinsight.encoders.long_term_prefix import LongTermPrefix, Sequences
from kinsight.encoders.multi_interest import MultiInterest, squash
from kinsight.encoders.property_gated_lstm import PropertyGatedCell, PropertyGatedLstm
from kinsight.encoders.registry import build_encoder
from kinsight.encoders.scenario import Scenario, ScenarioBlock
from kinsight.encoders.time_attention_bilstm import TimeAttentionBiLstm
from tests.histories import SIZES, from_items, random_histories

SMALL = {"width": 16}


@pytest.fixture(autouse=True)
def without_gradients() -> object:
    with torch.inference_mode():
        yield


def test_properties_enter_the_gates_and_not_the_candidate() -> None:
    torch.manual_seed(1)
    cell = PropertyGatedCell(width=5, property_width=3, hidden=4)
    about, how = torch.randn(2, 6, 5), torch.randn(2, 6, 3)
    hidden, memory = torch.zeros(2, 4), torch.zeros(2, 4)
    enter, forget, leave = cell.gates.weight.chunk(3)
    states = []
    for step in range(6):
        content = cell.content(about[:, step]) + cell.state(hidden)
        i, f, candidate, o = content.chunk(4, dim=1)
        p = how[:, step]
        i, f, o = ((g + p @ w.T).sigmoid() for g, w in ((i, enter), (f, forget), (o, leave)))
        memory = f * memory + i * candidate.tanh()
        hidden = o * memory.tanh()
        states.append(hidden)
    assert torch.allclose(cell(about, how), torch.stack(states, dim=1), atol=1e-6)


def test_the_same_item_clicked_and_bought_gives_different_vectors() -> None:
    encoder = cast(PropertyGatedLstm, build_encoder("property_gated_lstm", SMALL, SIZES, seed=3))
    encoder.eval()
    histories = from_items([[(3, 1), (4, 2)], [(3, 1), (4, 2)]])
    histories.columns["event_type"][3] = 3
    batch = Batch.of(histories)
    assert torch.equal(encoder.input(batch)[0], encoder.input(batch)[1])
    one, other = encoder.read(encoder.encode(batch))
    assert not torch.allclose(one, other, atol=1e-3)


def test_attention_over_time_reads_states_and_times() -> None:
    built = build_encoder("time_attention_bilstm", SMALL, SIZES, seed=3).eval()
    encoder = cast(TimeAttentionBiLstm, built)
    state = encoder.encode(Batch.of(random_histories([9])))
    assert state.context is not None
    read = torch.cat([state.events[0], state.context[0]], dim=1)
    weight = encoder.pool.score(read).softmax(0)
    assert torch.allclose(encoder.read(state)[0, 0], (weight * state.events[0]).sum(0), atol=1e-5)
    moved = EncoderState(state.batch, state.events, context=state.context.roll(1, 1))
    assert not torch.allclose(encoder.read(moved), encoder.read(state), atol=1e-4)


def multi_interest(**options: object) -> MultiInterest:
    return cast(
        MultiInterest, build_encoder("multi_interest", SMALL | options, SIZES, seed=3).eval()
    )


def test_interests_by_self_attention_are_weighted_means_of_content() -> None:
    encoder = multi_interest(interests=3)
    state = encoder.encode(Batch.of(random_histories([7, 4])))
    assert state.context is not None
    vectors, shares = encoder.find(state)
    for user, length in enumerate((7, 4)):
        keys, values = state.context[user, :length], state.events[user, :length]
        attention = encoder.find.score(keys).softmax(0)  # type: ignore[operator]  # by self-attention
        assert torch.allclose(vectors[user], attention.T @ values, atol=1e-5)
        held = attention / attention.sum(1, keepdim=True)
        assert torch.allclose(shares[user], held.mean(0), atol=1e-5)


def test_dynamic_routing_is_that_of_capsules() -> None:
    encoder = multi_interest(interests=3, routing="dynamic")
    state = encoder.encode(Batch.of(random_histories([7, 4])))
    vectors, shares = encoder.find(state)
    maps = cast(torch.nn.Linear, encoder.find.map).weight.view(3, 16, 16)
    for user, length in enumerate((7, 4)):
        mapped = torch.einsum("kde,le->lkd", maps, state.events[user, :length])
        logits = torch.zeros(length, 3)
        for _ in range(3):
            held = logits.softmax(1)
            found = squash((held[..., None] * mapped).sum(0))
            logits = logits + (mapped * found).sum(2)
        assert torch.allclose(vectors[user], 4 * found, atol=1e-4)  # the root of the width
        assert torch.allclose(shares[user], held.mean(0), atol=1e-5)
    assert (vectors.norm(dim=2) < 4).all()


def test_squashed_vectors_keep_their_direction_and_stay_below_one() -> None:
    vectors = torch.randn(50, 8) * torch.logspace(-3, 3, 50)[:, None]
    short = squash(vectors)
    assert (short.norm(dim=1) <= 1).all()
    assert torch.allclose(F.normalize(short), F.normalize(vectors), atol=1e-5)
    length = vectors.norm(dim=1)
    assert torch.allclose(short.norm(dim=1), length**2 / (1 + length**2), atol=1e-5)
    assert torch.equal(squash(torch.zeros(1, 8)), torch.zeros(1, 8))


@pytest.mark.parametrize("routing", ["self_attention", "dynamic"])
def test_with_a_query_the_nearest_interest_comes_first(routing: str) -> None:
    encoder = multi_interest(routing=routing)
    state = encoder.encode(Batch.of(random_histories([20, 9])))
    query = encoder.query_of(torch.tensor([[5], [7]]))
    read = encoder.read(state, query)
    near = (read @ query[..., None])[..., 0]
    assert (near.diff(dim=1) <= 0).all()
    plain = encoder.read(state)
    order = (plain @ query[..., None])[..., 0].argsort(dim=1, descending=True)
    assert torch.equal(read, plain.gather(1, order[..., None].expand_as(plain)))


def test_decoupled_attention_weighs_by_one_table_and_means_by_the_other() -> None:
    built = build_encoder("decoupled_attention", SMALL | {"attention_width": 6}, SIZES, seed=3)
    encoder = cast(DecoupledAttention, built.eval())
    batch = Batch.of(random_histories([8, 5]))
    query = torch.randn(2, 6) * 9
    read = encoder.read(encoder.encode(batch), query)
    meaning, keys = encoder.input_norm(encoder.input(batch)), encoder.attention(batch)
    for user, length in enumerate((8, 5)):
        weight = (keys[user, :length] @ query[user] / 6**0.5).softmax(0)
        expected = encoder.output_norm(weight @ meaning[user, :length])
        assert torch.allclose(read[user, 0], expected, atol=1e-5)


def test_without_a_query_an_event_asks_with_its_item_and_strictly_earlier_ones_answer() -> None:
    built = build_encoder("decoupled_attention", SMALL, SIZES, seed=3).eval()
    encoder = cast(DecoupledAttention, built)
    history = from_items([[(3, 1), (4, 2), (5, 2), (6, 3)]])
    state = encoder.encode(Batch.of(history))
    assert state.context is not None
    query = encoder.query_of(torch.tensor([[5]]))[0]
    seen = torch.tensor([0, 2])  # not event 1, which is of the same time
    weight = (state.context[0, seen] @ query / 32**0.5).softmax(0)
    expected = encoder.output_norm(weight @ state.events[0, seen])
    assert torch.allclose(encoder._own_answers(state).events[0, 2], expected, atol=1e-5)


def test_vectors_share_a_signature_as_often_as_the_formula_says() -> None:
    options = {"width": 16, "bits": 384, "bits_a_signature": 3}
    encoder = cast(HashBucket, build_encoder("hash_bucket", options, SIZES, seed=3))
    one = F.normalize(torch.randn(200, 16, generator=torch.Generator().manual_seed(1)))
    other = F.normalize(torch.randn(200, 16, generator=torch.Generator().manual_seed(2)))
    other = F.normalize(one + torch.linspace(0, 3, 200)[:, None] * other)
    shared = (encoder.signatures(one) == encoder.signatures(other)).float().mean(1)
    cosine = (one * other).sum(1).clamp(-1, 1)
    expected = (1 - cosine.acos() / np.pi) ** 3
    # 128 signatures a pair: a standard error of at most .044.
    assert (shared - expected).abs().max() < 0.16
    assert (shared - expected).abs().mean() < 0.04
    assert torch.equal(encoder.signatures(one * 7), encoder.signatures(one))


def test_buckets_kept_once_answer_as_the_whole_history_does() -> None:
    encoder = cast(HashBucket, build_encoder("hash_bucket", SMALL, SIZES, seed=3).eval())
    state = encoder.encode(Batch.of(random_histories([12, 5])))
    assert state.context is not None
    query = encoder.query_of(torch.tensor([[5, 6], [7, 0]]))
    buckets = encoder.buckets(state)
    assert buckets.shape == (2, 16, 8, 16)
    answer = encoder.read_buckets(buckets, query)
    assert torch.equal(answer, encoder.read(state, query))
    for user, length in enumerate((12, 5)):
        own, asked = encoder.signatures(state.context[user, :length]), encoder.signatures(query)
        total = torch.zeros(16)
        for signature in range(16):
            same = own[:, signature] == asked[user, signature]
            total += F.normalize(state.events[user, :length][same].sum(0), dim=0)
        assert torch.allclose(answer[user, 0], encoder.output_norm(total / 16), atol=1e-4)


def folded(**options: object) -> Folded:
    return cast(Folded, build_encoder("folded", SMALL | options, SIZES, seed=3).eval())


def test_folds_in_parallel_are_what_each_gives_alone() -> None:
    encoder = folded()
    batch = Batch.of(random_histories([40, 9, 1]))
    folds = Folds.of(batch, batch.category)
    for part in folds.by_length():
        together = encoder.encode_folds(folds.batch(batch, part))
        for number, fold in enumerate(part):
            alone = encoder.encode_folds(folds.batch(batch, fold[None]))
            assert torch.allclose(together[number], alone[0], atol=1e-5)


def test_folds_hold_every_event_once_and_one_key_each() -> None:
    batch = Batch.of(random_histories([40, 9, 1]))
    folds = Folds.of(batch, batch.category)
    parts = list(folds.by_length())
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(folds.length)))
    assert int(folds.length.sum()) == 50
    items = []
    for part in parts:
        own = folds.batch(batch, part)
        for row in range(len(part)):
            present = own.present[row]
            assert len(own.category[row][present].unique()) == 1
            assert (own.seconds[row][present].diff() >= 0).all()
            items += own.item[row][present].tolist()
    assert sorted(items) == sorted(batch.item[batch.present].tolist())


def test_attention_inside_folds_costs_the_sum_of_their_squares() -> None:
    batch = Batch.of(random_histories([400], items=30))
    folds = Folds.of(batch, batch.category)
    padded = [len(part) * int(folds.length[part].max()) ** 2 for part in folds.by_length()]
    assert sum(padded) <= 4 * int(folds.length.square().sum()) < 400**2


def test_a_scenario_gates_events_and_their_context_is_strictly_earlier() -> None:
    encoder = cast(Scenario, build_encoder("scenario", SMALL, SIZES, seed=3).eval())
    block = cast(ScenarioBlock, encoder.blocks[0])
    batch = Batch.of(from_items([[(3, 1), (4, 2), (5, 2), (6, 3)]]))
    events, scenario = encoder.input_norm(encoder.input(batch)), encoder.scenario(batch)
    gated = 2 * block.gate(scenario).sigmoid() * events
    for place, earlier in ((0, 0), (1, 1), (2, 1), (3, 3)):
        pooled = torch.zeros(32)
        if earlier:
            past = gated[0, :earlier]
            deviation = (past.var(0, unbiased=False) + 1e-6).sqrt()
            pooled = torch.cat([past.mean(0), deviation])
        read = [block.norm(events[0, place]), scenario[0, place], block.context(pooled)]
        expected = events[0, place] + block.feed(torch.cat(read))
        assert torch.allclose(block(batch, events, scenario)[0, place], expected, atol=1e-3)


def test_the_same_events_in_another_scenario_give_another_vector() -> None:
    encoder = build_encoder("scenario", SMALL | {"scenario_fields": ["hour"]}, SIZES, seed=3)
    histories = from_items([[(3, 1), (4, 2)], [(3, 1), (4, 2)]])
    histories.columns["hour_of_week"][2:] = 20
    one, other = encoder.eval().read(encoder.encode(Batch.of(histories)))
    assert not torch.allclose(one, other, atol=1e-3)


def long_term_prefix() -> LongTermPrefix:
    options = SMALL | {"recent_events": 3, "frozen_width": 8}
    return cast(LongTermPrefix, build_encoder("long_term_prefix", options, SIZES, seed=3).eval())


def test_the_window_of_a_prefix_ends_before_its_sequence_begins() -> None:
    encoder = long_term_prefix()
    # Blocks by place: 0 0 0 | 1 1 (one time) 1 | 2, the time at places 5 to 6 being of block 1.
    days = [1, 2, 3, 4, 4, 5, 5, 6, 7, 8]
    batch = Batch.of(from_items([[(3 + i, day) for i, day in enumerate(days)]]))
    assert encoder.block_of(batch)[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2, 3]
    windows = encoder.windows(batch)[0]
    assert not windows[:2].any()
    frozen = encoder.frozen_tokens()
    assert torch.allclose(windows[2], frozen[3:6].mean(0), atol=1e-6)
    assert torch.allclose(windows[3], frozen[3:10].mean(0), atol=1e-6)


def test_recent_events_change_no_prefix_and_old_ones_are_read_through_it_alone() -> None:
    encoder = long_term_prefix()
    days = list(range(1, 11))
    plain = [(3 + i, day) for i, day in enumerate(days)]
    recent = [*plain[:6], *((20, day) for day in days[6:])]
    swapped = [plain[1], plain[0], *plain[2:]]
    swapped = [(item, day) for (item, _), day in zip(swapped, days, strict=True)]
    one, other, old = (Batch.of(from_items([history])) for history in (plain, recent, swapped))
    assert torch.equal(encoder.windows(one), encoder.windows(other))
    # Two items of the window changed places: their mean is the same, and so is all behind it.
    vectors = [encoder.encode(batch).events[0] for batch in (one, old)]
    assert torch.allclose(vectors[0][6:], vectors[1][6:], atol=1e-5)
    assert not torch.allclose(vectors[0][:6], vectors[1][:6], atol=1e-3)


def test_without_a_window_all_is_read_in_one_pass() -> None:
    encoder = long_term_prefix()
    batch = Batch.of(from_items([[(3, 1), (4, 2), (5, 3)], [(6, 1)]]))
    sequences = Sequences.of(batch, encoder.block_of(batch))
    assert sequences.length.tolist() == [3, 1]
    assert sequences.own.tolist() == [[True] * 3, [True, False, False]]


def test_each_event_is_read_with_its_block_and_the_one_before() -> None:
    encoder = long_term_prefix()
    batch = Batch.of(from_items([[(3 + i, i) for i in range(8)], [(9, 1)] * 7 + [(4, 2)]]))
    sequences = Sequences.of(batch, encoder.block_of(batch))
    read = [
        (row.tolist()[:length], row[own].tolist())
        for row, length, own in zip(
            sequences.place, sequences.length.tolist(), sequences.own, strict=True
        )
    ]
    # The second user's first seven events are of one time, so of one block; block 1 is empty.
    assert read == [
        ([0, 1, 2], [0, 1, 2]),
        ([0, 1, 2, 3, 4, 5], [3, 4, 5]),
        ([3, 4, 5, 6, 7], [6, 7]),
        ([8, 9, 10, 11, 12, 13, 14], [8, 9, 10, 11, 12, 13, 14]),
        ([15], [15]),
    ]


def test_a_prefix_tells_users_apart_whose_recent_events_are_alike() -> None:
    encoder = long_term_prefix()
    one = [(3, day) for day in range(1, 7)] + [(9, day) for day in range(7, 13)]
    other = [(4, day) for day in range(1, 7)] + [(9, day) for day in range(7, 13)]
    state = encoder.encode(Batch.of(from_items([one, other])))
    assert not torch.allclose(state.events[0, -1], state.events[1, -1], atol=1e-3)
