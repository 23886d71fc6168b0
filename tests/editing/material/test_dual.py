"""The best move in prompt space against a general optimiser on the explicit objective."""

import math

import pytest
import torch

from hfbiasedit.editing.material.dual import (
    EXTREME,
    Targets,
    dual,
    folds_of,
    predicted_kl,
    solution_at,
)


def _problem(seed=0, width=12):
    """Rows [9, width] and targets: six shares, two of them extreme, and three log masses."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(9, width, generator=generator, dtype=torch.float64)
    targets = Targets.of(
        2 * torch.randn(6, generator=generator),
        torch.tensor([0.0, 1.0, 0.2, 0.9, 0.5, 0.35]),
        torch.rand(6, generator=generator) + 0.1,
        torch.randn(3, generator=generator) / 2,
        torch.tensor([0.5, 0.1, 0.2]),
    )
    return rows, targets


def _loss(targets, values):
    """The weighted loss written out: KL(f || m) of shares, half squares of masses."""
    f = targets.goal[:6].sigmoid()
    m = values[:6].sigmoid()
    kl = f * (f / m).log() + (1 - f) * ((1 - f) / (1 - m)).log()
    return (targets.weight[:6] * kl).sum() + (targets.weight[6:] * values[6:].square() / 2).sum()


@pytest.mark.parametrize("width", [12, 4])
@pytest.mark.parametrize("price", [3.0, 0.1, 0.003])
def test_the_move_is_the_minimum_of_the_explicit_objective(price, width):
    rows, targets = _problem(width=width)
    v = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [v], max_iter=400, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def objective(move):
        return _loss(targets, targets.start + rows @ move) + price * move.square().sum() / 2

    def closure():
        optimiser.zero_grad()
        value = objective(v)
        value.backward()
        return value

    optimiser.step(closure)
    y, values = dual(rows @ rows.T, targets, price)
    move = rows.T @ y
    torch.testing.assert_close(values, targets.start + rows @ move)
    best, reached = float(objective(v.detach())), float(objective(move))
    assert best - 1e-9 <= reached < best + 0.01 * (float(objective(0 * move)) - best)
    assert predicted_kl(rows @ rows.T, y) == pytest.approx(float(move.square().sum()) / 2)
    # Reweighting stops when it hardly pays; a share far from its goal is the last to get there.
    change = rows @ v.detach()
    assert (values - targets.start - change).abs().max() < 0.1 * change.abs().max()


def test_targets_hold_shares_at_facts_and_masses_at_zero():
    _, targets = _problem()
    factual = torch.tensor([EXTREME, 1 - EXTREME, 0.2, 0.9, 0.5, 0.35]).double()
    torch.testing.assert_close(targets.goal[:6].sigmoid(), factual, rtol=1e-5, atol=1e-7)
    assert targets.goal[6:].abs().max() == 0
    assert float(targets.weight[:6].sum()) == pytest.approx(1)
    torch.testing.assert_close(targets.weight[6:], torch.tensor([1.0, 0.2, 0.4]).double())
    values = torch.linspace(-2, 2, 9).double()
    assert targets.loss(values) == pytest.approx(float(_loss(targets, values)))
    assert targets.loss(targets.goal) == pytest.approx(0, abs=1e-12)
    moved = targets.moved(torch.ones(9))
    torch.testing.assert_close(moved.start, targets.start + 1)
    assert torch.equal(moved.goal, targets.goal)


def test_a_part_weighs_as_much_as_the_whole():
    _, targets = _problem()
    mask = torch.tensor([1, 0, 1, 1, 0, 0, 0, 1, 1]).bool()
    part = targets.part(mask)
    assert torch.equal(part.start, targets.start[mask])
    assert torch.equal(part.share, targets.share[mask])
    for own, kind in ((part.share, slice(0, 6)), (~part.share, slice(6, 9))):
        assert float(part.weight[own].sum()) == pytest.approx(float(targets.weight[kind].sum()))
    ratio = part.weight[:3] / targets.weight[:6][mask[:6]]
    torch.testing.assert_close(ratio, ratio[:1].expand(3))
    shares_only = targets.part(targets.share)
    torch.testing.assert_close(shares_only.weight, targets.weight[:6])


@pytest.mark.parametrize("divergence", [1e-8, 1e-4, 0.006, 0.1])
def test_the_price_of_a_divergence_is_found(divergence):
    rows, targets = _problem()
    gram = rows @ rows.T
    found = solution_at(gram, targets, divergence)
    assert found.predicted == pytest.approx(divergence, rel=0.04)
    assert found.predicted == pytest.approx(predicted_kl(gram, found.y))
    torch.testing.assert_close(found.values, targets.start + gram @ found.y)
    near = solution_at(gram, targets, 2 * divergence, found)
    assert near.predicted == pytest.approx(2 * divergence, rel=0.04)
    assert near.price < found.price
    assert targets.loss(near.values) < targets.loss(found.values) < targets.loss(targets.start)


@pytest.mark.parametrize("divergence", [0.0, 1e-12, 0.006, 1e9])
@pytest.mark.parametrize("spread", [0, 3])
def test_prompts_that_say_the_same_are_no_obstacle(spread, divergence):
    """Inner products in float32 of 120 prompts that are three: singular but for rounding."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(3, 5000, generator=generator).repeat(40, 1) + 3
    rows *= 10 ** (spread * (torch.rand(120, 1, generator=generator) - 0.5))
    gram = (rows @ rows.T).double()
    targets = Targets.of(
        torch.randn(120, generator=generator), torch.rand(120, generator=generator), torch.ones(120)
    )
    found = solution_at(gram, targets, divergence)
    assert torch.isfinite(found.y).all()
    assert math.isfinite(found.price)
    assert targets.loss(found.values) <= targets.loss(targets.start) + 1e-9
    if divergence < 1e-6:
        assert found.predicted < 1e-6


def test_gradients_of_zero_move_nothing():
    _, targets = _problem()
    found = solution_at(torch.zeros(9, 9).double(), targets, 0.006)
    assert found.predicted == 0
    torch.testing.assert_close(found.values, targets.start)


@pytest.mark.parametrize(
    ("kinds", "count", "expected"),
    [
        ("bacab", 2, [1, 0, 0, 0, 1]),
        ("bacab", 9, [1, 0, 2, 0, 1]),
        ("aaa", 3, [0, 0, 0]),
        ("abcd", 1, [0, 0, 0, 0]),
    ],
)
def test_folds_hold_whole_kinds(kinds, count, expected):
    assert folds_of(list(kinds), count).tolist() == expected
