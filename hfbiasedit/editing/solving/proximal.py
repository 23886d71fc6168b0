"""Steps that pay what general code really charges.

The Fisher metric F (`metric`) guesses what a move costs: it takes matrices for independent, and the
best move under it is one that it guesses too cheap. From a state u0 on, the gradient g of the
measured divergence corrects it: a step minimises

    loss(u)  +  kappa (g (u - u0) + C/2 (u - u0)^T (F + lambda I) (u - u0))  +  rho u^T u / 2

with the linear model's loss, its weights held. g comes from a few windows of general code at a time
and is averaged over steps; all steps of a run share one factorisation, so that a step costs little
more than its windows (a proximal gradient method with momentum, in the metric of F).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.solving.jacobian import Bases, Tape
from hfbiasedit.editing.solving.linear import Linear, Problem, System, curvatures
from hfbiasedit.editing.solving.metric import Metric, divergence_gradient
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.deltas import Deltas

RUN = 32  # steps that share a factorisation
WINDOWS = 32  # per step
DAMPINGS = (3.0, 30.0, 300.0)  # lambda over F's mean diagonal: the first that is steady
_CURVATURE = 10.0  # C: how much more than F a direction may bend
_MOMENTUM = 0.8
_BLOWN = 3.0  # times the larger of the first and the allowed divergence: the steps are too long


@dataclass(frozen=True)
class Workbench:
    """What every step of an edit needs: the task, its deltas, the tape and the problem."""

    task: Task
    deltas: Deltas
    tape: Tape
    known: Problem

    def write(self, move: Tensor) -> None:
        """Set the deltas to a move [D], and with them the model's weights."""
        state, start, scaled = {}, 0, move * self.known.scale
        parts = self.known.metric.parts
        for (name, value), part in zip(self.deltas.values.items(), parts, strict=True):
            count = part.values.numel()
            piece = scaled[start : start + count].view(part.values.shape)
            state[name] = self.known.bases.get(name, Bases()).expand(piece).to(value)
            start += count
        self.deltas.set_(state)


@dataclass(frozen=True)
class _Step:
    """What the steps of one run share.

    R = bend F + rho I is what a step's move is paid by: `bend` is kappa C, and the damping and the
    linear model's own rho are in `rho`.
    """

    linear: Linear
    metric: Metric
    kappa: float
    damping: float
    bend: float
    rho: float
    system: System

    @classmethod
    def of(cls, linear: Linear, metric: Metric, kappa: float, damping: float, now: Tensor) -> _Step:
        bend = _CURVATURE * kappa
        rho = linear.rho + bend * damping
        gram = metric.gram(linear.rows, bend, rho).double()
        weights = curvatures(linear, (linear.start + linear.pushed(now)).double())
        return cls(linear, metric, kappa, damping, bend, rho, System.of(gram, weights))

    def from_(self, now: Tensor, slope: Tensor) -> Tensor:
        """The minimum for g = `slope` [D] at u0 = `now` [D]."""
        linear, metric = self.linear, self.metric
        pull = self.bend * (metric.times(now) + self.damping * now) - self.kappa * slope
        centre = metric.inverse(pull, self.bend, self.rho)
        wanted = linear.goal - linear.start - linear.pushed(centre)
        dual = self.system.dual(wanted.double()).float()
        return centre + metric.inverse(linear.pulled(dual), self.bend, self.rho)


def descend(bench: Workbench, linear: Linear, now: Tensor, kappa: float, seed: int) -> Tensor:
    """One run of steps from the move `now` [D] at a price kappa; the deltas are left anywhere.

    Where the steps blow up, the run starts again with more damping; `now` if none is enough.
    """
    metric = bench.known.metric
    diagonal = torch.cat([part.diagonal.flatten() for part in metric.parts])
    for damping in DAMPINGS:
        with torch.no_grad():
            step = _Step.of(linear, metric, kappa, damping * float(diagonal.mean()), now)
        found = _run(bench, step, now, random.Random(seed))
        if found is not None:
            return found
    return now


def _run(bench: Workbench, step: _Step, now: Tensor, rng: random.Random) -> Tensor | None:
    """The move after all steps, or nothing where the divergence gets out of hand."""
    task, slope, limit = bench.task, torch.zeros_like(now), math.inf
    for number in range(1, RUN + 1):
        chosen = sorted(rng.sample(range(len(task.keep)), min(WINDOWS, len(task.keep))))
        bench.write(now)
        windows = choose(task.keep, chosen)
        found, divergence = divergence_gradient(task.loaded, bench.tape, windows, task.trunk)
        if not divergence <= limit:  # also where it is not a number
            return None
        if number == 1:
            limit = _BLOWN * max(divergence, task.config.allowed_kl)
        slope = _MOMENTUM * slope + (1 - _MOMENTUM) * found * bench.known.scale
        with torch.no_grad():
            now = step.from_(now, slope / (1 - _MOMENTUM**number))
    return now
