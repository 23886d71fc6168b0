"""Steps at the measured divergence: minima by brute force, less divergence, damping when needed."""

from dataclasses import replace

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import recorded
from hfbiasedit.editing.solving.linear import LOGIT, MASS, Linear, curvatures, solved
from hfbiasedit.editing.solving.proximal import DAMPINGS, Workbench, _Step, descend

from hfbiasedit.editing.solving import linear as linear_models
from hfbiasedit.editing.solving import proximal
from hfbiasedit.editing.solving.task import watched_divergence
from hfbiasedit.editing.weights.deltas import Deltas
from tests.editing import worlds


def test_a_step_is_the_minimum_of_loss_and_corrected_price():
    generator = torch.Generator().manual_seed(2)
    metric, dense = worlds.metric([(3, 5), (4, 2)], generator)
    size, kappa, damping = len(dense), 0.7, 0.3
    rows = torch.randn(6, size, generator=generator)
    start = torch.tensor([-1.0, 0.3, 2.0, 0.1, -0.2, 0.3])
    aim = torch.tensor([0.2, 0.9, 0.5])
    goal = torch.cat([aim.logit(), torch.zeros(3)])
    strength = torch.cat([aim * (1 - aim), torch.full((3,), 0.2)])
    kind = torch.tensor([LOGIT] * 3 + [MASS] * 3)
    model = Linear((rows[:4], rows[4:]), start, goal, strength, kind, torch.arange(6) % 3, 0.0)
    now, slope = torch.randn(2, size, generator=generator)
    found = _Step.of(model, metric, kappa, damping, now).from_(now, slope)

    u = found.double().requires_grad_()
    weights = curvatures(model, (start + rows @ now).double())
    away = start.double() + rows.double() @ u - goal.double()
    d = u - now.double()
    bend = dense.double() + damping * torch.eye(size, dtype=torch.float64)
    price = slope.double() @ d + proximal._CURVATURE * (d @ bend @ d) / 2
    loss = (weights * away.square()).sum() / 2 + kappa * price + model.rho * (u @ u) / 2
    (gradient,) = torch.autograd.grad(loss, u)
    assert gradient.abs().max() < 1e-3 * slope.norm()


@pytest.fixture
def problem():
    """Rows of a tiny model, the solution for a price, and the loss it reaches."""
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded, max_kl=0.05)
    selection = worlds.selection(loaded.model, "rows", count=12)
    with Deltas(loaded.model, selection) as deltas:
        with recorded(loaded.model, selection.slices) as tape:
            known, _ = linear_models.problem(task, tape, deltas, 1)
            move = solved(known.prompts, known.metric, 0.3)
            yield Workbench(task, deltas, tape, known), move


def _divergence(bench, move):
    bench.write(move)
    return float(watched_divergence(replace(bench.task, watch=bench.task.keep)).mean())


def test_a_run_buys_the_same_for_less_divergence(problem):
    bench, move = problem
    before = _divergence(bench, move)
    found = descend(bench, bench.known.prompts, move, 0.3, seed=0)
    after = _divergence(bench, found)
    price = 0.3 * before + bench.known.prompts.loss_at(move)
    assert 0.3 * after + bench.known.prompts.loss_at(found) < price
    assert after < before


def test_steps_that_blow_up_are_damped(problem, monkeypatch):
    bench, move = problem
    monkeypatch.setattr(proximal, "_CURVATURE", 1e-6)  # steps far too long without damping
    monkeypatch.setattr(proximal, "DAMPINGS", (0.0, 1e9))
    tried, real = [], proximal._run

    def run(*arguments):
        tried.append(real(*arguments))
        return tried[-1]

    monkeypatch.setattr(proximal, "_run", run)
    before = _divergence(bench, move)
    found = descend(bench, bench.known.prompts, move, 300.0, seed=0)
    assert tried[0] is None
    assert torch.equal(found, tried[1])
    assert _divergence(bench, found) < 2 * before


def test_where_no_damping_is_enough_nothing_moves(problem, monkeypatch):
    bench, move = problem
    monkeypatch.setattr(proximal, "_run", lambda *_: None)
    assert len(DAMPINGS) > 1
    assert descend(bench, bench.known.prompts, move, 0.3, seed=0) is move


def test_a_run_is_reproducible(problem, monkeypatch):
    bench, move = problem
    monkeypatch.setattr(proximal, "WINDOWS", 8)
    first, second, third = (
        descend(bench, bench.known.prompts, move, 0.3, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
