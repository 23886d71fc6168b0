"""Steps at the measured divergence: minima by brute force, less divergence, shorter when needed."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.material.dual import System, Targets, curvature, solution_at
from hfbiasedit.editing.solving import descent
from hfbiasedit.editing.solving.descent import descend, divergence_gradient
from hfbiasedit.editing.solving.task import watched_divergence
from tests.editing import worlds


def test_the_system_is_solved():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 3, generator=generator).double()  # singular: fewer columns than rows
    weights = torch.rand(5, generator=generator) + 0.1
    wanted = torch.randn(5, generator=generator).double()
    y = System.of(rows @ rows.T, weights).solve(wanted)
    torch.testing.assert_close(rows @ rows.T @ y + y / weights, wanted, rtol=1e-6, atol=1e-8)


def _divergence(bench):
    return float(watched_divergence(replace(bench.task, watch=bench.task.keep)).mean())


@pytest.mark.parametrize("mode", ["rows", "columns", "entries", "whole"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_gradient_of_the_divergence_is_that_of_central_differences(family, mode):
    loaded = worlds.loaded(family, dtype="float64")
    if mode == "whole":
        items = worlds.projections(loaded.model)[-1:]
        chosen = worlds.whole_selection(loaded.model, items, "module")
    else:
        chosen = worlds.selection(loaded.model, mode)
    generator = torch.Generator().manual_seed(6)
    with worlds.bench(loaded, chosen) as bench:
        move, way = torch.randn(2, bench.coordinates.total, generator=generator)
        move, way = move / move.norm(), way / way.norm()
        bench.write(move)
        found, mean = divergence_gradient(bench.task, bench.coordinates, bench.task.keep)
        assert mean == pytest.approx(_divergence(bench), rel=1e-4)
        bench.write(move + 1e-2 * way)
        ahead = _divergence(bench)
        bench.write(move - 1e-2 * way)
        slope = (ahead - _divergence(bench)) / 2e-2
    assert float(found @ way) == pytest.approx(slope, rel=0.02, abs=1e-4 * float(found.norm()))


@pytest.fixture
def solved():
    """Rows of a tiny model, a solution at a divergence that is large for it, and its price."""
    loaded = worlds.loaded("llama")
    chosen = worlds.selection(loaded.model, "rows", 12)
    with worlds.bench(loaded, chosen, max_kl=0.05) as bench:
        linear = bench.linear(None)
        found = solution_at(linear.gram(), linear.targets, 0.05)
        yield bench, linear, linear.pulled(found.y), found.price


def _descend(solved, price=None, seed=0):
    bench, linear, move, own = solved
    found, _ = descend(bench.task, bench.coordinates, bench.write, linear, move, price or own, seed)
    return found


def test_one_step_is_the_minimum_of_loss_and_corrected_price(solved, monkeypatch):
    """The loss with its weights held, plus the price of the slope and of the bend."""
    bench, linear, now, price = solved
    monkeypatch.setattr(descent, "RUN", 1)
    monkeypatch.setattr(descent, "BENDS", (10.0,))
    monkeypatch.setattr(descent, "WINDOWS", 1000)  # all of them: no sampling
    bench.write(now)
    slope, _ = divergence_gradient(bench.task, bench.coordinates, bench.task.keep)
    found = _descend(solved)
    targets: Targets = linear.targets
    weights = curvature(targets, targets.start + linear.pushed(now).double()) * targets.weight
    rows = linear.rows.double()

    def objective(v):
        away = targets.start + rows @ v.double() - targets.goal
        d = (v - now).double()
        bent = slope.double() @ d + 10.0 / 2 * d.square().sum()
        return (weights * away.square()).sum() / 2 + price * bent

    v = found.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(v), v)
    start = now.clone().requires_grad_()
    (before,) = torch.autograd.grad(objective(start), start)
    assert gradient.norm() < 1e-3 * before.norm()
    assert objective(found) < objective(now)


def test_a_run_buys_the_same_for_less(solved):
    bench, linear, now, price = solved

    def total(move):
        bench.write(move)
        values = linear.targets.start + linear.pushed(move).double()
        return linear.targets.loss(values) + price * _divergence(bench)

    found = _descend(solved)
    assert total(found) < total(now)
    again = _descend(solved)
    assert torch.equal(found, again)


def test_windows_are_drawn_by_seed(solved, monkeypatch):
    monkeypatch.setattr(descent, "WINDOWS", 4)
    monkeypatch.setattr(descent, "RUN", 2)
    first, other = _descend(solved, seed=1), _descend(solved, seed=2)
    assert not torch.equal(first, other)


def test_steps_that_blow_up_are_shortened(solved, monkeypatch):
    monkeypatch.setattr(descent, "BENDS", (1e-6, 1e9))  # steps far too long, then hardly any
    tried, real = [], descent._run
    monkeypatch.setattr(descent, "_run", lambda *a: tried.append(real(*a)) or tried[-1])
    found = _descend(solved)
    assert tried[0] is None
    assert len(tried) == 2
    assert torch.equal(found, tried[1])
    _, _, now, _ = solved
    assert (found - now).norm() < 0.01 * now.norm()


def test_where_nothing_is_short_enough_nothing_moves(solved, monkeypatch):
    monkeypatch.setattr(descent, "BENDS", (1e-6, 1e-5))
    assert _descend(solved) is solved[2]


def test_a_divergence_that_is_not_a_number_ends_the_run(solved, monkeypatch):
    _, _, now, _ = solved
    calls = []

    def gradient(*_):
        calls.append(1)
        return torch.zeros_like(now), float("nan")

    monkeypatch.setattr(descent, "divergence_gradient", gradient)
    assert _descend(solved) is now
    assert len(calls) == len(descent.BENDS)
