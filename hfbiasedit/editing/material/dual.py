"""The best small edit, found in the space of prompts.

Prompts are far fewer than weights. With v the move of the weights in units in which every direction
costs the same on general code (its predicted divergence is |v|^2 / 2) and values z = start + J v
that are linear in it, the move that minimises

    sum_n w_n loss_n(z_n)  +  price * |v|^2 / 2

is v = J^T y with one number y_n per value, and y follows from the inner products J J^T alone. These
may lie on a device, where the systems are then solved; all else is on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

EXTREME = 0.005  # factual shares are aimed at up to this far from 0 and 1
_ROUNDS = 8  # of reweighting; the loss is convex and the weights settle quickly
_SETTLED = 0.05  # change of a value below which another round is not worth it
_EVALUATIONS = 16  # at most, of a search for a price
_PRECISE = 0.03  # of a logarithm of a divergence: what a price need not be more exact for
_NOTHING = 1e-30  # stands for zero where a logarithm is taken
_CHEAPEST, _DEAREST = 1e-6, 1e3  # prices, of the weighted mean of squared lengths of gradients


@dataclass(frozen=True)
class Targets:
    """N values that an edit moves: logits of shares, and log gender masses.

    Attributes:
        start: [N], the values at v = 0. goal: [N], what they should be.
        weight: [N], how much each counts. share: [N], True for logits of shares, whose loss is
            KL(f || m); the loss of a log mass is half the squared distance from its goal.
    """

    start: Tensor
    goal: Tensor
    weight: Tensor
    share: Tensor

    @classmethod
    def of(
        cls,
        logits: Tensor,
        factual: Tensor,
        weight: Tensor,
        masses: Tensor | None = None,
        mass_weight: Tensor | None = None,
    ) -> Targets:
        """Targets of shares with `logits` [P], and of log masses [H] that should be 0.

        The loss is the mean of KL(f || m) under `weight` [P] and the sum of `mass_weight` [H] times
        the squared log masses.
        """
        masses = logits.new_zeros(0) if masses is None else masses
        held = logits.new_zeros(0) if mass_weight is None else 2 * mass_weight
        aim = factual.double().clamp(EXTREME, 1 - EXTREME).logit()
        return cls(
            torch.cat([logits, masses]).double(),
            torch.cat([aim, torch.zeros(len(masses)).double()]),
            torch.cat([weight.double() / weight.sum(), held.double()]),
            torch.arange(len(logits) + len(masses)) < len(logits),
        )

    def part(self, mask: Tensor) -> Targets:
        """Some of the values, marked by a mask [N]; their weights are scaled up to the same sum."""
        scale = torch.ones_like(self.weight)
        for kind in (self.share, ~self.share):
            inside = self.weight[kind & mask].sum()
            if inside > 0:
                scale[kind] = self.weight[kind].sum() / inside
        return Targets(
            self.start[mask], self.goal[mask], (self.weight * scale)[mask], self.share[mask]
        )

    def moved(self, change: Tensor) -> Targets:
        """The targets with `change` [N] added to the start."""
        return replace(self, start=self.start + change)

    def loss(self, values: Tensor) -> float:
        """The weighted loss of values [N], less what no values could avoid."""
        share = self.share
        m, f = values[share], self.goal[share].sigmoid()
        cross = torch.nn.functional.binary_cross_entropy_with_logits
        divergence = cross(m, f, reduction="none") - cross(self.goal[share], f, reduction="none")
        squares = (values - self.goal)[~share].square() / 2
        return float(
            (self.weight[share] * divergence).sum() + (self.weight[~share] * squares).sum()
        )


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix @ vector, made where the matrix is; the result is where the vector is."""
    return (matrix @ vector.to(matrix.device)).to(vector.device)


@dataclass(frozen=True)
class System:
    """(G + 1 / W) y = b in prompt space, factored: inner products G [N, N], weights W [N]."""

    root: Tensor
    factor: Tensor

    @classmethod
    def of(cls, gram: Tensor, weights: Tensor) -> System:
        """Factor it in double precision, made symmetric by the root of the weights."""
        root = weights.double().sqrt()
        beside = root.to(gram.device)
        system = gram.double() * beside
        system.mul_(beside[:, None]).diagonal().add_(1)
        return cls(root, torch.linalg.cholesky(system))

    def solve(self, wanted: Tensor) -> Tensor:
        """y [N] for b = `wanted` [N]."""
        asked = (self.root * wanted)[:, None].to(self.factor.device)
        inside = torch.cholesky_solve(asked, self.factor)[:, 0]
        return self.root * inside.to(self.root.device)


def dual(
    gram: Tensor,
    targets: Targets,
    price: float,
    near: Tensor | None = None,
    rounds: int = _ROUNDS,
) -> tuple[Tensor, Tensor]:
    """y [N] of the best move under a price, and the values [N] that it leads to.

    The loss is minimised by reweighting: with weights (m - f) / (z - logit f) the squared distance
    from logit f has the gradient of KL(f || m), and every round is a system in prompt space, made
    symmetric and well conditioned by the root of the weights.

    Args:
        gram: [N, N], inner products of the values' gradients, float64, on any device.
        near: [N], values to begin the reweighting at (None: those at the start).
        rounds: of reweighting, at most.
    """
    wanted = targets.goal - targets.start
    values, y = targets.start if near is None else near, torch.zeros_like(wanted)
    for _ in range(rounds):
        y = System.of(gram, curvature(targets, values) * targets.weight / price).solve(wanted)
        before, values = values, targets.start + times(gram, y)
        if float((values - before).abs().max()) < _SETTLED:
            break
    return y, values


def predicted_kl(gram: Tensor, y: Tensor) -> float:
    """|v|^2 / 2 of the move v = J^T y."""
    return float(y @ times(gram, y)) / 2


@dataclass(frozen=True)
class Solution:
    """The best move under a price: y [N], the values [N] it leads to, its predicted divergence."""

    y: Tensor
    values: Tensor
    price: float
    predicted: float


def solution_for(
    gram: Tensor, targets: Targets, price: float, near: Tensor | None = None
) -> Solution:
    """The best move under a price; `near` as of `dual`."""
    y, values = dual(gram, targets, price, near)
    return Solution(y, values, price, predicted_kl(gram, y))


def solution_at(
    gram: Tensor, targets: Targets, divergence: float, near: Solution | None = None
) -> Solution:
    """The best move whose predicted divergence is as given, within a few percent.

    The price is searched for: the logarithm of the divergence falls with that of the price, nearly
    in a straight line. `near` is where to begin. Where no price within bounds leads there, the
    move is that of the nearest one.
    """
    # Below, inner products in float32 are no longer exact enough for the system to be solved.
    scale = float((targets.weight * gram.diagonal().cpu()).sum()) + _NOTHING
    low, high = math.log(_CHEAPEST * scale), math.log(_DEAREST * scale)
    wanted, slope = math.log(max(divergence, _NOTHING)), -0.8
    guess = math.log(1e-2 * scale) if near is None else math.log(near.price)
    if near is not None:
        guess += (wanted - math.log(max(near.predicted, _NOTHING))) / slope
    values = None if near is None else near.values
    last: tuple[float, float] | None = None
    for _ in range(_EVALUATIONS):
        guess = min(max(guess, low), high)
        found = solution_for(gram, targets, math.exp(guess), values)
        values = found.values
        reached = math.log(max(found.predicted, _NOTHING))
        if abs(reached - wanted) < _PRECISE:
            break
        low, high = (guess, high) if reached > wanted else (low, guess)
        if high - low < _PRECISE:
            break
        if last is not None and abs(guess - last[0]) > 1e-3:
            slope = min(max((reached - last[1]) / (guess - last[0]), -3.0), -0.1)
        last = (guess, reached)
        guess += (wanted - reached) / slope
        if not low < guess < high:
            guess = (low + high) / 2
    return found


def folds_of(kinds: Sequence[str], count: int) -> Tensor:
    """Numbers [N] of at most `count` folds: the kinds, sorted, dealt out one after the other."""
    order = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
    count = max(1, min(count, len(order)))
    return torch.tensor([order[kind] % count for kind in kinds])


def curvature(targets: Targets, values: Tensor) -> Tensor:
    """Weights [N] of the squared distances from the goal; for shares secants of the slope."""
    f = targets.goal.sigmoid()
    away = values - targets.goal
    secant = torch.where(away.abs() > 1e-3, (values.sigmoid() - f) / away, f * (1 - f))
    return torch.where(targets.share, secant, torch.ones_like(secant))
