"""The gender mass beyond the linear model: measured by scoring prompts one by one, and made up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hfbiasedit.editing.material.dual import solution_for
from hfbiasedit.editing.solving import held as module
from hfbiasedit.editing.solving.bench import ROUNDS
from hfbiasedit.editing.solving.candidates import candidates
from hfbiasedit.editing.solving.held import held, mass_change
from hfbiasedit.editing.solving.task import judged, scored
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.scoring.engine import score
from tests.editing import worlds


def _log_masses(bench):
    """Of the held prompts and those of dev, by the audit's own way of scoring."""
    numbers = torch.cat([b.index for b in (*bench.sample.held, *bench.dev)]).tolist()
    encoded = [bench.task.prompts.encoded[number] for number in numbers]
    found = score(bench.task.loaded, encoded, share_prefixes=False, batch_size=1)
    return torch.from_numpy(np.logaddexp(found.log_male, found.log_female))


def _change(bench):
    return mass_change(bench, judged(bench.task, bench.dev))


def _mean(mass, change):
    return float((mass * change).sum() / mass.sum())


def test_the_change_is_that_of_the_mass_by_the_audit():
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        bench = replace(bench, dev=bench.task.prompts.batches(bench.task.dev[1::3]))
        assert _change(bench) == pytest.approx(0, abs=1e-4)
        before = _log_masses(bench)
        generator = torch.Generator().manual_seed(1)
        bench.write(2 * torch.randn(bench.coordinates.total, generator=generator))
        found = _change(bench)
        after = _log_masses(bench)
    wanted = _mean(before.exp(), after - before)
    assert abs(wanted) > 5e-3
    assert found == pytest.approx(wanted, rel=1e-2)


@pytest.fixture(scope="module")
def solved():
    """Tries at a few prices in a planted model, whose mass bends a lot, without and with holding."""
    loaded, item = worlds.planted("llama")
    part = rows_in(item, worlds.planted_rows(item, 2))
    chosen = Selection("row", {item.name: part}, fingerprint(loaded.model))
    found = {}
    for hold in (False, True):
        with worlds.bench(loaded, chosen, max_kl=0.01, mass=4.0) as bench:
            bench = replace(bench, round=ROUNDS)  # the limit is the same without holding
            linear = bench.linear()
            found[hold] = []
            before = _log_masses(bench)
            for state in candidates(bench, linear, tries=3, hold=hold)[1]:
                bench.write(state.move)
                lost = _mean(before.exp(), _log_masses(bench) - before)
                found[hold].append((state, lost))
    return found


def test_a_move_that_loses_mass_is_solved_for_again(solved):
    assert len(solved[True]) >= 2
    for (_, without), (_, lost) in zip(solved[False], solved[True], strict=False):
        assert without < -0.1
        assert abs(lost) < 0.6 * abs(without)


def test_it_costs_little(solved):
    for (plain, _), (state, _) in zip(solved[False], solved[True], strict=False):
        assert state.score.mean_kl < 1.3 * plain.score.mean_kl
        assert state.score.fb < 1.1 * plain.score.fb


def test_where_more_mass_cannot_be_had_the_move_stays(monkeypatch):
    """No try may be worse than the first one."""
    loaded = worlds.loaded("llama")
    changes = iter([-0.2, -0.3, 0.25])
    monkeypatch.setattr(module, "mass_change", lambda *_: next(changes))
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        linear = bench.linear()
        gram = linear.gram()
        found = solution_for(gram, linear.targets, 0.1)
        best = held(bench, linear, gram, found)
        assert best.solution is found
        assert best.more == 0
        assert torch.equal(best.move, linear.pulled(found.y))
    assert next(changes, None) is None


def test_what_was_aimed_at_before_is_where_the_next_one_begins(monkeypatch):
    """As far as the length of its move goes; a look that says so ends the search."""
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), mass=4.0) as bench:
        linear = bench.linear()
        gram = linear.gram()
        found = solution_for(gram, linear.targets, 1e-4)

        def aimed(more):
            targets = linear.targets.moved(-more * (~linear.targets.share).double())
            return solution_for(gram, targets, 1e-4, found.values)

        monkeypatch.setattr(module, "mass_change", lambda *_: next(changes))
        changes = iter([-0.2, 0.05, 0.009])
        first = held(bench, linear, gram, found)
        assert first.more == pytest.approx(0.15)
        close = dict(rtol=1e-2, atol=1e-2)  # a solution depends a little on where it begins
        change = gram @ (first.solution.y - found.y)
        assert change[~linear.targets.share].mean() == pytest.approx(0.15, abs=0.01)
        torch.testing.assert_close(gram @ first.solution.y, gram @ aimed(0.15).y, **close)
        shorter = replace(found, predicted=first.solution.predicted / 4)
        assert first.more_for(shorter) == pytest.approx(0.075)
        none = replace(found, predicted=-1e-12)
        assert first.more_for(none) == replace(first, solution=none).more_for(found) == 0
        changes = iter([0.009])
        again = held(bench, linear, gram, found, more=first.more)
        assert again.more == first.more
        torch.testing.assert_close(gram @ again.solution.y, gram @ aimed(0.15).y, **close)
        # What was too much is taken back.
        changes = iter([0.1, 0.002])
        assert held(bench, linear, gram, found, more=0.15).more == pytest.approx(0.05)
        assert next(changes, None) is None


def test_the_tries_of_a_round_learn_from_one_another(monkeypatch):
    """The first look at a further one finds little to mend."""
    loaded, item = worlds.planted("llama")
    part = rows_in(item, worlds.planted_rows(item, 2))
    chosen = Selection("row", {item.name: part}, fingerprint(loaded.model))
    looks, real = [], module.mass_change

    def look(*given):
        looks.append(real(*given))
        return looks[-1]

    monkeypatch.setattr(module, "mass_change", look)
    with worlds.bench(loaded, chosen, max_kl=0.01, mass=4.0) as bench:
        bench, first = replace(bench, round=ROUNDS), []
        for _ in candidates(bench, bench.linear(), tries=3, hold=True)[1]:
            first.append(abs(looks[0]))
            looks.clear()
    assert len(first) == 3
    assert max(first[1:]) < first[0] / 2


def test_what_dev_says_of_a_move_is_not_asked_again(monkeypatch):
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows"), max_kl=0.05) as bench:
        bench = replace(bench, round=ROUNDS)
        states = list(candidates(bench, bench.linear(), tries=2, hold=True)[1])
        assert states
        for state in states:
            bench.write(state.move)
            assert scored(bench.task, bench.dev).fb == pytest.approx(state.score.fb, abs=1e-4)
        asked = []
        real = module.judged
        monkeypatch.setattr(module, "judged", lambda *given: asked.append(given) or real(*given))
        monkeypatch.setattr(
            "hfbiasedit.editing.solving.task.judged", lambda *_: pytest.fail("asked again")
        )
        list(candidates(bench, bench.linear(), tries=2, hold=True)[1])
        assert asked
