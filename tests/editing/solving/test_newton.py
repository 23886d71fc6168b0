"""Gauss-Newton steps: what they reach, keep, refuse."""

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import is_recordable, recorded

from hfbiasedit.editing.solving import linear, newton
from hfbiasedit.editing.solving.adam import optimise
from hfbiasedit.editing.solving.newton import Newton, solve
from hfbiasedit.editing.solving.solver import require_fit, solver_of
from hfbiasedit.editing.solving.task import Score, scored
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


@pytest.mark.parametrize("mode", ["rows", "entries"])
def test_solving_brings_shares_closer_within_the_divergence(mode):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded, max_kl=0.05)
    selection = worlds.selection(loaded.model, mode, count=12)
    with Deltas(loaded.model, selection) as deltas:
        assert Newton().fits(task, deltas.slices) is None
        outcome = solve(task, deltas)
        after = scored(task, task.prompts.batches(task.dev, 32))
    assert outcome.state is not None
    assert outcome.dev_after < 0.7 * outcome.dev_before
    assert after.fb == pytest.approx(outcome.dev_after, abs=0.05)
    assert after.mean_kl <= 0.05
    base = scored(task, task.prompts.batches(task.dev, 32))
    assert base.fb == pytest.approx(outcome.dev_before, abs=1e-3)  # the model is as it was


def test_a_tight_budget_is_kept_at_the_price_of_the_gain():
    loaded = worlds.loaded("llama")
    selection = worlds.selection(loaded.model, "rows")
    gains = []
    for limit in (1e-6, 1e-2):
        with Deltas(loaded.model, selection) as deltas:
            outcome = solve(worlds.task(loaded, max_kl=limit), deltas)
        assert float(outcome.kl.mean()) <= limit
        gains.append(outcome.dev_before - outcome.dev_after)
    assert 0 <= gains[0] < gains[1]


def test_solver_is_refused_where_it_cannot_work():
    loaded = worlds.loaded("llama")
    norm = loaded.model.model.norm.weight
    whole = Selection(
        "full",
        {"model.norm.weight": worlds.whole("model.norm.weight", norm.shape)},
        fingerprint(loaded.model),
    )
    assert not is_recordable(loaded.model, whole.slices)
    for solver, error in (("newton", True), ("adam", False), ("auto", False)):
        task = worlds.task(loaded, granularity="full", solver=solver)
        with Deltas(loaded.model, whole) as deltas:
            if error:
                with pytest.raises(BiasEditError, match="use adam"):
                    require_fit(solver_of(solver), task, deltas.slices)
            else:
                require_fit(solver_of(solver), task, deltas.slices)
                assert solver_of(solver).solve(task, deltas).history


def test_too_many_weights_are_left_to_adam(monkeypatch):
    loaded = worlds.loaded("llama")
    selection = worlds.selection(loaded.model, "entries")
    monkeypatch.setattr(linear, "LIMIT", 1000)
    with Deltas(loaded.model, selection) as deltas:
        task = worlds.task(loaded, max_kl=0.05, steps=12)
        with pytest.raises(BiasEditError, match="too many weights"):
            require_fit(solver_of("newton"), task, deltas.slices)
        solver = solver_of("auto")
        require_fit(solver, task, deltas.slices)
        found = solver.solve(task, deltas)
    with Deltas(loaded.model, selection) as deltas:
        assert found.history == optimise(task, deltas).history


@pytest.mark.parametrize("level", ["layer", "module", "full"])
def test_whole_matrices_move_within_few_directions(level, monkeypatch):
    """So cut down that nothing else fits, the edit still helps, and moves are of that rank."""
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded, granularity=level, max_kl=0.05)
    items = projections(loaded.model)[-3:]
    selection = Selection(
        level, {i.name: worlds.whole(i.name, i.shape) for i in items}, fingerprint(loaded.model)
    )
    monkeypatch.setattr(linear, "LIMIT", linear.elements(1) * 3 * 16 * 16)
    with Deltas(loaded.model, selection) as deltas:
        outcome = solve(task, deltas)
        moved = {name: value.detach().clone() for name, value in deltas.values.items()}
    assert outcome.dev_after < 0.7 * outcome.dev_before
    for value in moved.values():
        singular = torch.linalg.svdvals(value)
        assert int((singular > 1e-5 * singular[0]).sum()) <= 16


def test_a_problem_of_one_sample_is_not_used_where_all_of_them_do_not_fit(monkeypatch):
    """The linear models of all samples together stay within the limit."""
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded, max_kl=0.05)
    monkeypatch.setattr(linear, "SAMPLE", len(task.train) // 3)
    selection = worlds.selection(loaded.model, "rows", count=12)
    monkeypatch.setattr(linear, "LIMIT", selection.weights * linear.elements(1))
    sizes, real = [], newton.solved

    def solved(model, *rest, **options):
        sizes.append(sum(rows.numel() for rows in model.rows))
        return real(model, *rest, **options)

    monkeypatch.setattr(newton, "solved", solved)
    with Deltas(loaded.model, selection) as deltas:
        with recorded(loaded.model, deltas.slices) as tape:
            known, _ = linear.problem(task, tape, deltas, 1)
        assert not known.bases
        outcome = solve(task, deltas, known)
    assert outcome.dev_after < 0.7 * outcome.dev_before
    assert max(sizes) <= linear.LIMIT


@pytest.mark.parametrize(
    ("divergence", "limit", "expected"),
    [
        (-1e-9, 0.01, 0.2),  # nothing has moved: much cheaper
        (0.00475, 0.01, 0.2),  # half of what is aimed at: 2 ** -2.5 is below a fifth
        (0.0095, 0.01, 1.0),
        (0.0114, 0.01, 1.2**2.5),
        (1.0, 0.01, 5.0),
        (0.0, 0.0, 0.2),
    ],
)
def test_the_price_follows_what_is_left_of_the_allowed_divergence(divergence, limit, expected):
    score = Score(10.0, torch.tensor([divergence], dtype=torch.float64), 1.0)
    state = newton._State(torch.zeros(1), 1.0, score)
    assert newton._price(state, limit) == pytest.approx(expected)


def test_the_price_has_a_floor():
    score = Score(10.0, torch.zeros(1), 1.0)
    assert newton._price(newton._State(torch.zeros(1), 0.3, score), 0.01) == newton._CHEAPEST
