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
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in
from hfbiasedit.scoring.engine import score
from tests.editing import worlds


def _log_masses(bench):
    """Of the held prompts, by the audit's own way of scoring."""
    numbers = torch.cat([batch.index for batch in bench.sample.held]).tolist()
    encoded = [bench.task.prompts.encoded[number] for number in numbers]
    found = score(bench.task.loaded, encoded, share_prefixes=False, batch_size=1)
    return torch.from_numpy(np.logaddexp(found.log_male, found.log_female))


def _mean(mass, change):
    return float((mass * change).sum() / mass.sum())


def test_the_change_is_that_of_the_mass_by_the_audit():
    loaded = worlds.loaded("llama")
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        assert mass_change(bench) == pytest.approx(0, abs=1e-4)
        before = _log_masses(bench)
        generator = torch.Generator().manual_seed(1)
        bench.write(0.5 * torch.randn(bench.coordinates.total, generator=generator))
        found = mass_change(bench)
        after = _log_masses(bench)
    wanted = _mean(before.exp(), after - before)
    assert abs(wanted) > 1e-2
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
        assert abs(lost) < 0.5 * abs(without)


def test_it_costs_little(solved):
    for (plain, _), (state, _) in zip(solved[False], solved[True], strict=False):
        assert state.score.mean_kl < 1.2 * plain.score.mean_kl
        assert state.score.fb < 1.05 * plain.score.fb


def test_where_more_mass_cannot_be_had_the_move_stays(monkeypatch):
    """No try may be worse than the first one."""
    loaded = worlds.loaded("llama")
    changes = iter([-0.2, -0.3, 0.25])
    monkeypatch.setattr(module, "mass_change", lambda bench: next(changes))
    with worlds.bench(loaded, worlds.selection(loaded.model, "rows")) as bench:
        linear = bench.linear()
        gram = linear.gram()
        found = solution_for(gram, linear.targets, 0.1)
        best, move = held(bench, linear, gram, found)
        assert best is found
        assert torch.equal(move, linear.pulled(found.y))
    assert next(changes, None) is None
