"""A linear model of prompts in the selected weights, and the move that is best in it.

z = logit(m) of every prompt and, for some prompts, its log gender mass c against the original's,
as linear functions of the total move u of the selected weights. The best move minimises

    mean_p  KL(f_p || sigmoid(z_p(u)))  +  mass * mean_p c_p(u)^2  +  u^T R u / 2

with R = kappa F + rho I and the Fisher metric F of general code (`metric`). Prompts are far fewer
than weights, so it is found in prompt space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.objective import bernoulli_divergence
from hfbiasedit.editing.solving.jacobian import Bases, Tape, gradients_of_mass, gradients_of_share
from hfbiasedit.editing.solving.metric import Metric, code_moments, metric_of
from hfbiasedit.editing.solving.subspace import moments, rank_for, set_bases
from hfbiasedit.editing.solving.task import Task, prepared
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import Slice

SAMPLE = 768  # prompts differentiated at once
LIMIT = 1 << 28  # elements of all rows, and of all second moments (1 GiB each)
RHO = 0.03  # of the mean squared length of a prompt's gradient
_PIECE = 32  # prompts of one pass
_HELD = 4  # the gender mass is held for every fourth prompt: it does not differ much
_ROUNDS = 8  # of reweighting; the loss is convex and the weights settle quickly
_SETTLED = 0.02  # change of a logit below which another round is not worth it
_EXTREME = 0.005  # factual shares are aimed at up to this far from 0 and 1
LOGIT, MASS = range(2)


@dataclass(frozen=True)
class Sample:
    """Prompts of one linear model: all of them, and those whose gender mass is held."""

    prompts: list[PromptBatch]
    held: list[PromptBatch]


@dataclass(frozen=True)
class Linear:
    """N values `start + rows @ u`: logits of shares and log masses.

    Attributes:
        rows: [N, D], in blocks of rows.
        start, goal: [N], the values at u = 0 and what they should be.
        strength: [N], the curvature of the loss at the goal, per value of its kind.
        kind: [N], `LOGIT` or `MASS`. index: [N], the prompts' numbers.
        loss: mean KL(f || m) where the model was made.
    """

    rows: tuple[Tensor, ...]
    start: Tensor
    goal: Tensor
    strength: Tensor
    kind: Tensor
    index: Tensor
    loss: float

    def part(self, mask: Tensor) -> Linear:
        """The model of some of the values, marked by a mask [N]."""
        masks = mask.split([len(block) for block in self.rows])
        rows = tuple(block[own] for block, own in zip(self.rows, masks, strict=True))
        values = (self.start[mask], self.goal[mask], self.strength[mask])
        return Linear(rows, *values, self.kind[mask], self.index[mask], self.loss)

    def columns(self, mask: Tensor) -> Linear:
        """The model in some of the weights, marked by a mask [D]."""
        return replace(self, rows=tuple(block[:, mask] for block in self.rows))

    def pushed(self, move: Tensor) -> Tensor:
        """rows @ move [D]."""
        return torch.cat([block @ move for block in self.rows])

    def pulled(self, dual: Tensor) -> Tensor:
        """dual [N] @ rows."""
        parts = dual.split([len(block) for block in self.rows])
        return torch.stack([p @ block for p, block in zip(parts, self.rows, strict=True)]).sum(0)

    def loss_at(self, move: Tensor) -> float:
        """Mean cross-entropy of the factual shares at a move [D], in the linear model."""
        values, logits = self.start + self.pushed(move), self.kind == LOGIT
        return float(
            torch.nn.functional.binary_cross_entropy_with_logits(
                values[logits], self.goal[logits].sigmoid()
            )
        )

    @property
    def weights(self) -> Tensor:
        """[N], `strength` over the number of values of the kind: the curvature of the means."""
        counts = torch.bincount(self.kind, minlength=2).clamp_min(1)
        return self.strength / counts[self.kind]

    @property
    def finite(self) -> bool:
        """Whether all derivatives and values are."""
        return all(bool(torch.isfinite(values).all()) for values in (*self.rows, self.start))

    @property
    def rho(self) -> float:
        """The isotropic price, from the mean squared length of a weighted row."""
        lengths = torch.cat([block.square().sum(1) for block in self.rows])
        return RHO * float((self.weights * lengths).mean())


@dataclass(frozen=True)
class Problem:
    """All that a step needs to know of the coordinates [D] in which it moves the weights.

    Attributes:
        scale: [D], what one unit of a move is. bases: the tensors that have other coordinates than
            their weights. metric: F. prompts: the first sample, at the original weights.
    """

    scale: Tensor
    bases: dict[str, Bases]
    metric: Metric
    prompts: Linear


def problem(task: Task, tape: Tape, deltas: Deltas, count: int) -> tuple[Problem, list[Sample]]:
    """Differentiate general code and the first of `count` samples; the model is unchanged.

    `count` is at most `samples_that_fit`.
    """
    parts = samples(task, count)
    slices = deltas.slices
    rank = rank_of(slices, len(parts))
    code = code_moments(task.loaded, tape, task.keep, task.trunk, task.config.seed)
    if rank is not None:
        set_bases(task, tape, slices, code, parts[0].held, rank)
    sizes = sizes_of(deltas)
    scale = spread(tape, sizes)
    start = torch.zeros(len(scale))
    prompts = linear_model(task, tape, parts[0], scale, start)
    return Problem(scale, dict(tape.bases), metric_of(tape, code, sizes), prompts), parts


def samples_that_fit(prompts: int, slices: Mapping[str, Slice]) -> int:
    """How many samples' linear models fit into memory, of those that so many prompts make.

    0: not even one.
    """
    if sum(moments(part) for part in slices.values()) > LIMIT:
        return 0
    fits = [n for n in range(1, sample_count(prompts) + 1) if rank_of(slices, n) != 0]
    return max(fits, default=0)


def rank_of(slices: Mapping[str, Slice], count: int) -> int | None:
    """The rank to which `count` samples' linear models are cut (`rank_for`)."""
    return rank_for(slices, LIMIT // elements(count))


def sizes_of(deltas: Deltas) -> list[float]:
    """Root mean square of each tensor's selected weights: the unit of their moves."""
    return [max(float(b.double().square().mean().sqrt()), 1e-4) for b in deltas.base.values()]


def spread(tape: Tape, sizes: list[float]) -> Tensor:
    """Every tensor's unit, repeated for each of its coordinates [D]."""
    pairs = zip(tape.names, sizes, strict=True)
    return torch.cat([torch.full((tape.count(name),), size) for name, size in pairs])


def sample_count(prompts: int) -> int:
    """How many samples so many training prompts make."""
    return max(1, round(prompts / SAMPLE))


def samples(task: Task, most: int) -> list[Sample]:
    """The training prompts in (at most so many) samples, each from all over them."""
    count = sample_count(len(task.train))
    return [_sample(task, task.train[number::count]) for number in range(min(count, most))]


def elements(count: int) -> int:
    """Rows of so many samples."""
    return count * (SAMPLE + SAMPLE // _HELD)


def _sample(task: Task, index: list[int]) -> Sample:
    batches = prepared(task, task.prompts.batches(index, _PIECE))
    held = prepared(task, task.prompts.batches(index[::_HELD], _PIECE))
    return Sample(batches, held)


def linear_model(task: Task, tape: Tape, sample: Sample, scale: Tensor, now: Tensor) -> Linear:
    """Differentiate a sample at the move `now`, in units `scale` [D] of the weights."""
    share = gradients_of_share(task.loaded, tape, sample.prompts, task.trunk)
    mass = gradients_of_mass(task.loaded, tape, sample.held, task.trunk)
    target = torch.cat([batch.target for batch in sample.prompts])
    m = share.values.clamp(1e-6, 1 - 1e-6)
    aim = target.clamp(_EXTREME, 1 - _EXTREME)
    rows = torch.cat([share.rows, mass.rows]).mul_(scale)
    values = torch.cat([m.logit(), mass.values])
    held = torch.full_like(mass.values, 2 * task.config.mass)
    return Linear(
        (rows,),
        values - rows @ now,
        torch.cat([aim.logit(), torch.zeros_like(mass.values)]),
        torch.cat([aim * (1 - aim), held]),
        torch.tensor([LOGIT] * len(target) + [MASS] * len(held)),
        torch.cat([batch.index for batch in [*sample.prompts, *sample.held]]),
        float(bernoulli_divergence(target, m.log(), (1 - m).log()).mean()),
    )


def joined(models: Sequence[Linear]) -> Linear:
    """One model of the values of several, made at different moves; the loss is the first's."""

    def all_of(name: str) -> Tensor:
        return torch.cat([getattr(model, name) for model in models])

    return replace(
        models[0],
        rows=tuple(block for model in models for block in model.rows),
        start=all_of("start"),
        goal=all_of("goal"),
        strength=all_of("strength"),
        kind=all_of("kind"),
        index=all_of("index"),
    )


@dataclass(frozen=True)
class System:
    """(G + 1/W) y = b in prompt space, factored: inner products G [N, N] of rows, weights W [N].

    It is made symmetric and well conditioned by the root of the weights.
    """

    root: Tensor
    factor: Tensor

    @classmethod
    def of(cls, gram: Tensor, weights: Tensor) -> System:
        """Factor it, in the dtype of `gram`."""
        root = weights.sqrt()
        unit = torch.eye(len(root), dtype=gram.dtype)
        return cls(root, torch.linalg.cholesky(root[:, None] * gram * root + unit))

    def dual(self, wanted: Tensor) -> Tensor:
        """y [N] for b = `wanted` [N]."""
        inside = torch.cholesky_solve((self.root * wanted)[:, None], self.factor)
        return self.root * inside[:, 0]


def solved(linear: Linear, metric: Metric, kappa: float, rho: float | None = None) -> Tensor:
    """The u [D] with the least loss in the linear model under R = kappa F + rho I.

    The loss is minimised by reweighting: with weights (m - f) / (z - logit f) the squared distance
    from logit f has the gradient of KL(f || m), and every round is a system in prompt space. It
    starts with the weights at u = 0.
    """
    rho = linear.rho if rho is None else rho
    gram = metric.gram(linear.rows, kappa, rho).double()
    wanted = (linear.goal - linear.start).double()
    values, dual = linear.start.double(), wanted
    for _ in range(_ROUNDS):
        dual = System.of(gram, curvatures(linear, values)).dual(wanted)
        before, values = values, linear.start + gram @ dual
        if float((values - before).abs().max()) < _SETTLED:
            break
    return metric.inverse(linear.pulled(dual.float()), kappa, rho)


def curvatures(linear: Linear, values: Tensor) -> Tensor:
    """Weights [N] of the squared distances from the goal; for logits secants of the slope."""
    goal, weights = linear.goal.double(), linear.weights.double()
    away = values - goal
    slope = (values.sigmoid() - goal.sigmoid()) / away / linear.strength
    return torch.where((linear.kind == LOGIT) & (away.abs() > 1e-3), slope * weights, weights)
