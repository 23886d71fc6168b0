"""What a step works on: a linear model of the original with further prompts besides."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.material.gathering import dealt
from hfbiasedit.editing.material.prompts import Prompts, learning_weights, measure_original
from hfbiasedit.editing.solving import task as tasks
from hfbiasedit.editing.solving.bench import bench_of, widened
from hfbiasedit.scoring.continuations import encode
from tests.editing import worlds


def _apart(model):
    """The prompts' first half, and the second one unmeasured."""
    rows = worlds.records()
    first = Prompts(rows[:12], encode(model.tokenizer, rows[:12]))
    measure_original(model, first)
    return first, Prompts(rows[12:], encode(model.tokenizer, rows[12:]))


def test_further_prompts_are_as_if_they_had_been_there_from_the_start():
    loaded = worlds.loaded("llama")
    chosen = worlds.selection(loaded.model, "rows")
    with worlds.bench(loaded, chosen, mass=0.7) as bench:
        whole = bench.linear(None)
        measured = bench.task.prompts
    first, more = _apart(loaded)
    with worlds.bench(loaded, chosen, mass=0.7) as bench:
        task = replace(
            bench.task, prompts=first, train=list(range(12)), dev=list(range(12)), more=more
        )
        bench = bench_of(task, bench.deltas)
        found = widened(bench, bench.linear(None))
    share = found.targets.share
    assert int(share.sum()) == 24
    place = {r.id: n for n, r in enumerate(whole.records[:24])}
    own = [n for n in range(len(share)) if share[n]]
    order = [place[found.records[n].id] for n in own]
    rows = whole.rows[order].float()
    assert (found.rows[own].float() - rows).norm() < 0.02 * rows.norm()
    close = dict(rtol=2e-2, atol=2e-3)
    torch.testing.assert_close(found.targets.start[own], whole.targets.start[order], **close)
    torch.testing.assert_close(found.mass[own], whole.mass[order], **close)
    weights = learning_weights(measured, list(range(24)))
    by_id = dict(zip((r.id for r in measured.records), weights, strict=True))
    wanted = torch.tensor([by_id[found.records[n].id] for n in own]).double()
    torch.testing.assert_close(found.targets.weight[own], wanted, rtol=1e-2, atol=1e-4)
    # Masses of prompts met for the first time start where they should stay.
    assert found.targets.start[~share].abs().max() < 1e-3
    assert float(found.targets.weight[~share].sum()) == pytest.approx(2 * 0.7)


def test_later_steps_see_all_prompts_where_the_model_is():
    """As a bench that had them from the start, at a move away from the original."""
    loaded = worlds.loaded("llama")
    chosen = worlds.selection(loaded.model, "rows")
    with worlds.bench(loaded, chosen, mass=0.7) as bench:
        move = 0.3 * torch.randn(
            bench.coordinates.total, generator=torch.Generator().manual_seed(1)
        )
        bench.write(move)
        wanted = bench.linear(move)
    first, more = _apart(loaded)
    with worlds.bench(loaded, chosen, mass=0.7) as bench:
        task = replace(
            bench.task, prompts=first, train=list(range(12)), dev=list(range(12)), more=more
        )
        bench = bench_of(task, bench.deltas)
        task.remember()
        bench.write(move)
        found = bench.whole.linear(move)
    assert len(found.records) == len(wanted.records) > 24
    values = found.targets.start + found.pushed(move).double()
    expected = wanted.targets.start + wanted.pushed(move).double()
    share = wanted.targets.share
    assert torch.equal(found.targets.share, share)
    ids = [[r.id for r in linear.records[:24]] for linear in (found, wanted)]
    order = [ids[1].index(name) for name in ids[0]]
    close = dict(rtol=2e-2, atol=2e-3)
    torch.testing.assert_close(values[share], expected[share][order], **close)
    torch.testing.assert_close(
        found.targets.weight[share], wanted.targets.weight[share][order], rtol=1e-6, atol=0
    )
    # The change of the mass counts from the original's, which was measured later for `more`.
    places = {r.id: v for r, v in zip(wanted.records[24:], expected[~share], strict=True)}
    for record, value in zip(found.records[24:], values[~share], strict=True):
        if record.id in places:
            assert float(value) == pytest.approx(float(places[record.id]), abs=2e-3)


def test_without_further_prompts_it_stays_as_it_is():
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        first = bench.linear(None)
        assert widened(bench, first) is first


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


def test_what_the_original_says_to_further_prompts_is_known_from_their_derivatives(monkeypatch):
    loaded = worlds.loaded("llama")
    first, more = _apart(loaded)
    _, wanted = _apart(loaded)
    measure_original(loaded, wanted)
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), mass=0.7) as bench:
        task = replace(
            bench.task, prompts=first, train=list(range(12)), dev=list(range(12)), more=more
        )
        bench = bench_of(task, bench.deltas)
        widened(bench, bench.linear(None))
        monkeypatch.setattr(tasks, "measure_original", lambda *_: pytest.fail("a pass of its own"))
        task.remember()
    assert more.log_mass == pytest.approx(wanted.log_mass, abs=1e-4)
    assert more.share == pytest.approx(wanted.share, abs=1e-5)


def test_the_original_is_judged_once(monkeypatch):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    dev = task.prompts.batches(task.dev)
    score = task.before(dev)
    assert score.fb == tasks.scored(task, dev).fb
    monkeypatch.setattr(tasks, "scored", lambda *_: pytest.fail("judged again"))
    assert task.before(dev) is score
