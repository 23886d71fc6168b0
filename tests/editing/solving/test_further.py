"""Templates to practise with: only where the divergence leaves room, and the same when resumed."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material.prompts import Prompts
from hfbiasedit.editing.solving import bench as module
from hfbiasedit.editing.solving.candidates import candidates
from hfbiasedit.editing.solving.further import choose_further
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.scoring.continuations import encode
from tests.editing import worlds


def _part(loaded, split, count):
    """Unmeasured prompts of their own ids."""
    rows = tuple(replace(row, id=f"{split}/{row.id}") for row in worlds.records()[:count])
    return Prompts(rows, encode(loaded.tokenizer, rows))


@pytest.fixture(scope="module")
def world():
    loaded = worlds.loaded("llama")
    return loaded, worlds.selection(loaded.model, "rows")


def _task(loaded, limit, **changes):
    more, practice = _part(loaded, "more", 5), _part(loaded, "practice", 6)
    task = replace(worlds.task(loaded, max_kl=limit), more=more, practice=practice)
    return replace(task, **changes)


def _first_divergence(world):
    """Of the move that prompts left out speak for, measured apart."""
    loaded, chosen = world
    task = worlds.task(loaded, max_kl=1.0)
    with Deltas(loaded.model, chosen) as deltas:
        bench = module.bench_of(task, deltas)
        return next(candidates(bench, bench.linear(None), tries=1)[1]).score.mean_kl


@pytest.mark.parametrize("room", [True, False])
def test_practice_is_for_edits_that_the_divergence_does_not_limit(world, room):
    limit = _first_divergence(world) * (1.01 if room else 0.99)
    task = _task(world[0], limit)
    with Deltas(world[0].model, world[1]) as deltas:
        bench = module.bench_of(task, deltas)
        found = choose_further(bench, bench.linear(None))
        assert not any(value.any() for value in deltas.values.values())
    assert found == (6 if room else 0)
    assert {row.id.split("/")[0] for row in task.more.records} == {"practice" if room else "more"}


def test_without_templates_to_practise_with_nothing_is_measured(world):
    task = _task(world[0], 1.0, practice=None)
    with Deltas(world[0].model, world[1]) as deltas:
        assert choose_further(module.bench_of(task, deltas), None) == 0
    assert len(task.more) == 5


def test_a_resumed_edit_goes_on_with_what_it_chose(world, tmp_path):
    loaded, chosen = world
    # The second one's limit would speak for the other choice.
    for limit, resumed in ((1.0, False), (1e-9, True)):
        task = _task(loaded, limit, kept=Kept(tmp_path, resumed=resumed))
        with Deltas(loaded.model, chosen) as deltas:
            assert choose_further(module.bench_of(task, deltas), None) == 6
        assert len(task.more) == 6


@pytest.mark.parametrize(("limit", "count"), [(1.0, 6), (1e-9, 0)])
def test_the_first_step_learns_from_what_was_chosen(world, monkeypatch, limit, count):
    seen = []
    real = module.linearised

    def watched(loaded, coordinates, sample, *rest, **options):
        seen.append({record.id.split("/")[0] for record in sample.records})
        return real(loaded, coordinates, sample, *rest, **options)

    monkeypatch.setattr(module, "linearised", watched)
    task = _task(world[0], limit)
    with Deltas(world[0].model, world[1]) as deltas:
        outcome = solve(task, deltas)
    assert outcome.practised == count
    assert seen[1] == {"practice" if count else "more"}
    assert torch.isfinite(outcome.kl).all()
