"""The linear model of prompts and the move that is best in it."""

from itertools import chain

import torch
from hfbiasedit.editing.solving.linear import LOGIT, MASS, Linear, joined, samples, solved

from hfbiasedit.editing.solving import linear
from tests.editing import worlds


def test_the_step_is_the_minimum_of_the_loss_in_the_linear_model():
    generator = torch.Generator().manual_seed(2)
    metric, dense = worlds.metric([(3, 5), (4, 2)], generator)
    size, kappa, rho, mass = len(dense), 0.7, 0.2, 0.1
    rows = torch.randn(6, size, generator=generator)
    start = torch.tensor([-4.0, 0.3, 2.0, 0.1, -0.2, 0.3])
    aim = torch.tensor([0.2, 0.9, 0.5])
    goal = torch.cat([aim.logit(), torch.zeros(3)])
    strength = torch.cat([aim * (1 - aim), torch.full((3,), 2 * mass)])
    kind = torch.tensor([LOGIT] * 3 + [MASS] * 3)
    model = Linear((rows,), start, goal, strength, kind, torch.arange(6) % 3, 0.0)
    found = solved(model, metric, kappa, rho)
    # The same values in two blocks, in another order: the same problem.
    halves = [model.part(torch.arange(6) % 2 == odd) for odd in (0, 1)]
    torch.testing.assert_close(solved(joined(halves), metric, kappa, rho), found)

    u = found.double().requires_grad_()
    values = start.double() + rows.double() @ u
    cross = torch.nn.functional.binary_cross_entropy_with_logits(values[:3], aim.double())
    price = u @ (kappa * dense.double() + rho * torch.eye(size, dtype=torch.float64)) @ u
    loss = cross + mass * values[3:].square().mean() + price / 2
    (gradient,) = torch.autograd.grad(loss, u)
    assert gradient.abs().max() < 1e-3


def test_samples_share_out_the_prompts(monkeypatch):
    loaded = worlds.loaded("llama")
    task = worlds.task(loaded)
    monkeypatch.setattr(linear, "SAMPLE", len(task.train) // 3)
    parts = samples(task, 9)
    found = [torch.cat([b.index for b in part.prompts]).tolist() for part in parts]
    assert sorted(chain.from_iterable(found)) == sorted(task.train)
    assert 2 <= len(parts) <= 4
    held = torch.cat([b.index for b in parts[0].held]).tolist()
    assert set(held) < set(found[0])
    assert len(samples(task, 1)) == 1
