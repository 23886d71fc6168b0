"""Gauss-Newton steps for edits of few weights.

With few weights the whole problem fits a linear model (`linear`). Every step differentiates one
sample of the training prompts at the present state and solves for it together with the other
samples as they were last differentiated, so that all prompts count at the cost of one sample.
kappa, the price of changing general code, and how far to go from the last state to the solution
are not guessed: every step tries a few, rounds each to the checkpoint's dtype, and keeps the one
with the lowest FB-Score on `dev` whose measured divergence is within the budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.gradients import checkpointing
from hfbiasedit.editing.jacobian import Bases, is_recordable, recorded
from hfbiasedit.editing.linear import (
    Linear,
    Problem,
    joined,
    linear_model,
    problem,
    rank_of,
    samples,
    samples_that_fit,
    solved,
)
from hfbiasedit.editing.optimisation import Outcome, Score, Task, prepared, scored, settle
from hfbiasedit.editing.slices import Slice
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

STEPS = 6
KAPPAS = (0.3, 1.0, 3.0)  # tried at the first step; later ones stay near the best
LENGTHS = (1.0, 0.5)  # of the way from the last state to the solution
GAIN = 0.02  # relative gain on dev below which a step was not worth it
_PIECE = 32
_REFINED = 2  # prices looked for between one that is too low and one that is too high


@dataclass
class _Candidate:
    kappa: float
    length: float
    move: Tensor
    score: Score


def can_solve(loaded: LoadedModel, slices: Mapping[str, Slice], prompts: int) -> bool:
    """Whether a linear model of so many prompts (or of a sample) in these weights can be made."""
    return is_recordable(loaded.model, slices) and samples_that_fit(prompts, slices) > 0


def uses_newton(task: Task, slices: Mapping[str, Slice]) -> bool:
    """Whether an edit is solved here: wanted, of plain projections, and not too wide.

    Raises:
        BiasEditError: it was asked for and cannot be done.
    """
    if task.config.solver == "adam":
        return False
    fits = can_solve(task.loaded, slices, len(task.train))
    if task.config.solver == "newton" and not fits:
        plain = is_recordable(task.loaded.model, slices)
        reason = "too many weights" if plain else "other than weights of plain projections"
        raise BiasEditError(f"the selection holds {reason} for --solver newton; use adam")
    return fits


def solve(task: Task, deltas: Deltas, known: Problem | None = None) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero).

    `known` is the problem at the original weights, where it has been set up already.
    """
    dev = prepared(task, task.prompts.batches(task.dev, _PIECE))
    count = samples_that_fit(len(task.train), deltas.slices)
    before = scored(task, dev)
    outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
    kappas: tuple[float, ...] = KAPPAS
    last = before.fb
    model = task.loaded.model
    with (
        progress("editing", STEPS) as bar,
        checkpointing(model, task.config.checkpoint),
        recorded(model, deltas.slices) as tape,
    ):
        # What fits for one sample may have to be cut down for all of them.
        if known is None or rank_of(deltas.slices, count) is not None:
            known, parts = problem(task, tape, deltas, count)
        else:
            parts = samples(task, count)
        models, now = {0: known.prompts}, torch.zeros_like(known.scale)
        for step in range(1, STEPS + 1):
            number = (step - 1) % len(parts)
            if step > 1:
                models[number] = linear_model(task, tape, parts[number], known.scale, now)
            linear = joined(list(models.values()))
            if not linear.finite:
                outcome.stopped = "the gradients were not finite"
                break
            with torch.no_grad():
                found = _candidates(task, deltas, dev, known, linear, now, kappas)
            best = _best(found, task.config.allowed_kl)
            bar.advance()
            bar.describe(f"editing: dev FB {best.score.fb:.1f}, KL {best.score.mean_kl:.4f}")
            outcome.history.append(_entry(step, models[number].loss, best))
            if best.score.mean_kl <= task.config.allowed_kl and best.score.fb < outcome.dev_after:
                _write(deltas, best.move, known)
                outcome.state, outcome.steps = deltas.state(), step
                outcome.dev_after, outcome.kl = best.score.fb, best.score.kl
            elif step > len(parts) and best.score.fb > (1 - GAIN) * last:
                outcome.stopped = "dev got no better"
                break
            now, last = best.move, best.score.fb
            _write(deltas, now, known)
            kappas = (best.kappa / 3, best.kappa, best.kappa * 3)
    settle(deltas, outcome)
    return outcome


def _candidates(
    task: Task,
    deltas: Deltas,
    dev: list,
    known: Problem,
    linear: Linear,
    now: Tensor,
    kappas: tuple[float, ...],
) -> list[_Candidate]:
    """Solve and score for every kappa and length; dearer kappas follow while none is allowed."""
    found: list[_Candidate] = []
    limit, queue, refined = task.config.allowed_kl, list(kappas), 0
    while queue:
        kappa = queue.pop(0)
        goal = solved(linear, known.metric, kappa, near=now)
        for length in LENGTHS if bool(now.any()) else (1.0,):
            move = now + length * (goal - now)
            _write(deltas, move, known)
            found.append(_Candidate(kappa, length, move, scored(task, dev)))
        if queue:
            continue
        between = _between([item for item in found if item.length == 1], limit)
        if all(item.score.mean_kl > limit for item in found) and kappa < 1e6:
            queue.append(max(item.kappa for item in found) * 10)
        elif between is not None and refined < _REFINED:
            queue.append(between)
            refined += 1
    return found


def _between(found: list[_Candidate], limit: float) -> float | None:
    """The kappa that should use up the allowed divergence, from the nearest on both sides."""
    dear = [item for item in found if item.score.mean_kl <= limit]
    cheap = [item for item in found if item.score.mean_kl > limit]
    if not dear or not cheap:
        return None
    low, high = min(dear, key=lambda i: i.kappa), max(cheap, key=lambda i: i.kappa)
    if low.score.mean_kl > 0.85 * limit or low.kappa < high.kappa:
        return None
    span = math.log(high.score.mean_kl / max(low.score.mean_kl, 1e-12))
    way = math.log(0.95 * limit / max(low.score.mean_kl, 1e-12)) / span
    return low.kappa * (high.kappa / low.kappa) ** way


def _best(found: list[_Candidate], limit: float) -> _Candidate:
    """Lowest dev score within the allowed divergence; else the smallest divergence."""
    allowed = [item for item in found if item.score.mean_kl <= limit]
    if allowed:
        return min(allowed, key=lambda item: item.score.fb)
    return min(found, key=lambda item: item.score.mean_kl)


def _write(deltas: Deltas, move: Tensor, known: Problem) -> None:
    """Set the deltas from a move in units of the tensors' typical weights."""
    state, start, scaled = {}, 0, move * known.scale
    for (name, value), part in zip(deltas.values.items(), known.metric.parts, strict=True):
        count = part.values.numel()
        piece = scaled[start : start + count].view(part.values.shape)
        state[name] = known.bases.get(name, Bases()).expand(piece).to(value)
        start += count
    deltas.set_(state)


def _entry(step: int, loss: float, best: _Candidate) -> dict[str, float]:
    return {
        "step": step,
        "loss_bias": loss,
        "loss_keep": best.score.mean_kl,
        "dev_fb": best.score.fb,
        "kl": best.score.mean_kl,
        "keep": best.kappa,
    }
