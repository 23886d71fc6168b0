"""What a round works on: fresh prompts where the model is, moves from there."""

import contextlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hfbiasedit.editing.material import gathering
from hfbiasedit.editing.material.gathering import dealt, pieces
from hfbiasedit.editing.material.prompts import Prompts, measure_original, weights_of
from hfbiasedit.editing.solving import bench as module
from hfbiasedit.editing.solving import directions
from hfbiasedit.editing.solving import task as tasks
from hfbiasedit.editing.solving.bench import bench_at, bench_of
from hfbiasedit.editing.solving.task import Outcome
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import score
from tests.editing import worlds


def _apart(model):
    """The prompts' first half, and the second one unmeasured."""
    rows = worlds.records()
    first = Prompts(rows[:12], encode(model.tokenizer, rows[:12]))
    measure_original(model, first)
    return first, Prompts(rows[12:], encode(model.tokenizer, rows[12:]))


def _move(bench, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(bench.coordinates.total, generator=generator)


@contextlib.contextmanager
def _further():
    """A first round, moved, and a further one from there, whose prompts are the other half."""
    loaded = worlds.loaded("llama")
    first, more = _apart(loaded)
    measure_original(loaded, more, module.held_of(range(len(more))))
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), mass=0.7) as bench:
        numbers = list(range(12))
        task = replace(bench.task, prompts=first, train=numbers, dev=numbers, more=more)
        bench = bench_of(task, bench.deltas)
        bench.write(_move(bench))
        yield bench, bench_at(bench, more, range(len(more)), _outcome(9.5, 0.25), 2)


def _outcome(dev, kl):
    return Outcome(None, 12.0, dev, torch.tensor([kl / 2, 1.5 * kl]).double(), 1, "")


def _values(bench, prompts):
    """Logits of shares and log masses of prompts, one by one, by the audit's way of scoring."""
    found = score(bench.task.loaded, prompts.encoded, share_prefixes=False, batch_size=1)
    return (
        torch.from_numpy(found.log_female - found.log_male),
        torch.from_numpy(np.logaddexp(found.log_male, found.log_female)),
    )


def test_moves_of_a_further_round_are_added_to_what_was_reached():
    with _further() as (first, further):
        reached = {name: value.clone() for name, value in first.deltas.state().items()}
        move = _move(further, seed=2)
        further.write(move)
        change = further.coordinates.to_weights(move)
        for name, value in further.deltas.state().items():
            assert torch.equal(value, reached[name] + change[name])
        assert any(change[name].any() for name in change)
        further.write(torch.zeros_like(move))
        assert all(torch.equal(v, reached[n]) for n, v in further.deltas.state().items())
        first.write(torch.zeros(first.coordinates.total))
        assert not any(value.any() for value in first.deltas.state().values())
        assert (first.spent, further.spent) == (0.0, 0.25)
        assert (first.reached, further.reached) == (None, 9.5)


def test_the_allowed_divergence_is_not_for_the_first_round_alone(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 4)
    with _further() as (first, further):
        allowed = first.task.config.allowed_kl
        assert first.part == pytest.approx(allowed / 2)
        assert further.part == pytest.approx(allowed * math.sqrt(0.5))
        assert further.limit == pytest.approx(1.15 * further.part)
        last = replace(further, round=4)
        assert (last.part, last.limit) == (allowed, allowed)


def test_what_moves_cost_by_what_is_foretold_is_known_from_the_first_round():
    with _further() as (first, further):
        assert (first.rate, further.rate) == (None, None)
        outcome, prompts = _outcome(9.0, 0.3), first.task.more
        names = "step", "loss_keep", "kl"
        steps = [(1, 0.0, 0.9), (1, 0.02, 0.12), (1, 0.01, 0.11), (1, 0.01, 0.0), (2, 0.01, 0.3)]
        outcome.history += [dict(zip(names, step, strict=True)) for step in steps]
        found = bench_at(first, prompts, range(len(prompts)), outcome, 3)
        assert found.rate == pytest.approx(6)  # of the one that cost most
        for step in outcome.history:
            step["kl"] = 0.0
        assert bench_at(first, prompts, range(len(prompts)), outcome, 3).rate is None
        assert found.round == 3


def test_a_further_round_differentiates_fresh_prompts_where_the_model_is():
    """Values and weights are those of the moved model; its mass is to be the original's."""
    with _further() as (bench, further):
        linear = further.linear()
        more = bench.task.more
        logits, masses = _values(bench, more)
        share = linear.targets.share
        ids = [record.id for record in more.records]
        order = [ids.index(linear.records[n].id) for n in share.nonzero()[:, 0].tolist()]
        held = [ids.index(linear.records[n].id) for n in (~share).nonzero()[:, 0].tolist()]
        close = dict(rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(linear.targets.start[share], logits[order].double(), **close)
        change = masses[held] - torch.tensor(more.log_mass)[held]
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(
            linear.targets.start[~share], change.double(), rtol=1e-2, atol=1e-3
        )
        wanted = weights_of([more.records[n] for n in order], masses[order].exp().tolist())
        found = linear.targets.weight
        torch.testing.assert_close(found[share], torch.tensor(wanted).double(), **close)
        assert float(found[~share].sum()) == pytest.approx(2 * 0.7)
        assert held == list(module.held_of(range(len(ids))))
        assert math.isnan(more.log_mass[1])  # of others the original is never asked
        # The derivatives are those of that model: differences of a small move say the same.
        step = 1e-2 * _move(further, seed=3)
        foretold = linear.pushed(step)[share]
        further.write(step)
        there = _values(bench, more)[0]
        further.write(-step)
        back = _values(bench, more)[0]
        slope = (there - back)[order] / 2
        assert (foretold - slope).norm() < 0.03 * slope.norm()


def test_directions_are_those_of_the_original_and_made_once(monkeypatch):
    monkeypatch.setattr(directions, "widest", lambda _: 300)
    calls, real = [], directions.leading
    monkeypatch.setattr(directions, "leading", lambda *given: calls.append(given) or real(*given))
    with _further() as (first, further):
        assert first.coordinates.total <= 300
        assert further.coordinates is first.coordinates
        before = len(calls)
        assert before >= 1
        bench_at(first, first.task.more, range(len(first.task.more)), _outcome(9.0, 0.3), 3)
        again = bench_of(first.task, first.deltas, first.coordinates)
        assert again.coordinates is first.coordinates
        assert len(calls) == before


def test_prompts_are_dealt_by_seed_without_one_twice():
    loaded = worlds.loaded("llama")
    rows = worlds.records()
    prompts = Prompts(rows, encode(loaded.tokenizer, rows))
    few, rest = dealt(prompts, 9, 0)
    assert (len(few), len(rest)) == (9, 15)
    assert {r.id for r in few.records} | {r.id for r in rest.records} == {r.id for r in rows}
    assert few.encoded == [prompts.encoded[rows.index(r)] for r in few.records]
    assert [r.id for r in dealt(prompts, 9, 1)[0].records] != [r.id for r in few.records]
    everything, nothing = dealt(prompts, 24, 0)
    assert everything.records == rows
    assert len(nothing) == 0


def test_rounds_are_dealt_all_prompts_once(monkeypatch):
    loaded = worlds.loaded("llama")
    rows = worlds.records()
    monkeypatch.setattr(gathering, "EDIT_PROMPTS", 10)
    found = pieces(Prompts(rows, encode(loaded.tokenizer, rows)), 0)
    assert [len(part) for part in found] == [10, 10, 4]
    assert sorted(r.id for part in found for r in part.records) == sorted(r.id for r in rows)
    assert pieces(Prompts((), []), 0) == []


def test_the_original_is_judged_once(monkeypatch):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    dev = task.prompts.batches(task.dev)
    score = task.before(dev)
    assert score.fb == tasks.scored(task, dev).fb
    monkeypatch.setattr(tasks, "scored", lambda *_: pytest.fail("judged again"))
    assert task.before(dev) is score
