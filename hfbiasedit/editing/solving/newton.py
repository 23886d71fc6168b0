"""Gauss-Newton steps for edits of few weights.

With few weights the whole problem fits a linear model (`linear`). The first step solves it under
the Fisher metric, for a few values of kappa, the price of changing general code, and takes the one
with the lowest FB-Score on `dev` whose measured divergence is allowed. Every later step
differentiates one more sample of the training prompts at the present state, keeps the others as
they were last differentiated, and moves on at the measured divergence's own gradient (`proximal`);
kappa follows what is left of the allowed divergence. What is judged is always the model with its
weights rounded to the checkpoint's dtype, and the best state wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.solving.jacobian import is_recordable, recorded
from hfbiasedit.editing.solving.linear import (
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
from hfbiasedit.editing.solving.proximal import Workbench, descend
from hfbiasedit.editing.solving.pruning import POOLS, prune
from hfbiasedit.editing.solving.task import Outcome, Score, Task, prepared, scored, settle, within
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

STEPS = 6
KAPPAS = (0.3, 1.0, 3.0)  # tried at the first step; later ones go on from the best
GAIN = 0.02  # relative gain on dev below which a step was not worth it
_DEAREST = 1e6
# Below, wide edits fit their prompts ever better and leave the range in which the model is linear:
# of nine unseen templates, one went from 16 to 25 at 0.05.
_CHEAPEST = 0.1
_TARGET = 0.95  # of the allowed divergence
_LARGEST = 5.0  # change of kappa from step to step
_PIECE = 32


@dataclass(frozen=True)
class _State:
    """A move [D] of the weights, the kappa it was (or will be) paid at, and its score."""

    move: Tensor
    kappa: float
    score: Score


def can_solve(loaded: LoadedModel, slices: Mapping[str, Slice], prompts: int) -> bool:
    """Whether a linear model of so many prompts (or of a sample) in these weights can be made."""
    return is_recordable(loaded.model, slices) and samples_that_fit(prompts, slices) > 0


class Newton:
    """The solver of this module, with the pruning that goes before it."""

    pools = POOLS

    def __init__(self) -> None:
        self._known: Problem | None = None  # left by pruning, for the weights that were kept

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """Only weights of plain projections, and not too many."""
        if can_solve(task.loaded, slices, len(task.train)):
            return None
        plain = is_recordable(task.loaded.model, slices)
        reason = "too many weights" if plain else "other than weights of plain projections"
        return f"the selection holds {reason} for --solver newton; use adam"

    def fits_pool(self, loaded: LoadedModel, slices: Mapping[str, Slice], prompts: int) -> bool:
        """Whether a linear model of the pool's weights can be made."""
        return can_solve(loaded, slices, prompts)

    def prune(
        self, task: Task, deltas: Deltas, pool: Selection, items: Sequence[Tensor], budget: Budget
    ) -> Selection:
        """See `pruning`; `solve` goes on from the problem that is set up here."""
        selection, self._known = prune(task, deltas, pool, list(items), budget)
        return selection

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """Gauss-Newton steps."""
        return solve(task, deltas, self._known)


def solve(task: Task, deltas: Deltas, known: Problem | None = None) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero).

    `known` is the problem at the original weights, where it has been set up already.
    """
    dev = prepared(task, task.prompts.batches(task.dev, _PIECE))
    count = samples_that_fit(len(task.train), deltas.slices)
    before = scored(task, dev)
    outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
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
        bench, models = Workbench(task, deltas, tape, known), {0: known.prompts}
        state = _State(torch.zeros_like(known.scale), KAPPAS[-1], before)
        for step in range(1, STEPS + 1):
            number = (step - 1) % len(parts)
            if step > 1:
                models[number] = linear_model(task, tape, parts[number], known.scale, state.move)
            linear = joined(list(models.values()))
            if not linear.finite:
                outcome.stopped = "the gradients were not finite"
                break
            first = step == 1
            state = _first(bench, dev, linear) if first else _next(bench, dev, linear, state, step)
            bar.advance()
            bar.describe(f"editing: dev FB {state.score.fb:.1f}, KL {state.score.mean_kl:.4f}")
            outcome.history.append(_entry(step, models[number].loss, state))
            last = outcome.dev_after
            _record(bench, dev, state, outcome, step)
            if step > len(parts) and outcome.dev_after > (1 - GAIN) * last:
                outcome.stopped = "dev got no better"
                break
            state = replace(state, kappa=_price(state, task.config.allowed_kl))
    settle(deltas, outcome)
    return outcome


def _first(bench: Workbench, dev: list[PromptBatch], linear: Linear) -> _State:
    """The solution for every kappa, and for dearer ones while none is allowed: the best of them.

    That is the lowest dev score within the allowed divergence; else the smallest divergence. The
    deltas are left at it.
    """
    found: list[_State] = []
    limit, queue = bench.task.config.allowed_kl, list(KAPPAS)
    while queue:
        kappa = queue.pop(0)
        with torch.no_grad():
            move = solved(linear, bench.known.metric, kappa)
        bench.write(move)
        found.append(_State(move, kappa, scored(bench.task, dev)))
        none = all(state.score.mean_kl > limit for state in found)
        if none and not queue and kappa < _DEAREST:
            queue.append(10 * kappa)
    allowed = [state for state in found if state.score.mean_kl <= limit]
    if allowed:
        best = min(allowed, key=lambda state: state.score.fb)
    else:
        best = min(found, key=lambda state: state.score.mean_kl)
    bench.write(best.move)
    return best


def _next(
    bench: Workbench, dev: list[PromptBatch], linear: Linear, state: _State, step: int
) -> _State:
    """A run of steps from the last state, at its kappa; the deltas are left at the new one."""
    seed = bench.task.config.seed * 1_000_003 + step
    move = descend(bench, linear, state.move, state.kappa, seed)
    bench.write(move)
    return _State(move, state.kappa, scored(bench.task, dev))


def _record(
    bench: Workbench, dev: list[PromptBatch], state: _State, outcome: Outcome, step: int
) -> None:
    """Take the state that the deltas hold, drawn back as far as the divergence demands, if it is
    the best so far.
    """
    scale, score = within(bench.task, bench.deltas, dev, state.score)
    if score is not None and score.fb < outcome.dev_after:
        outcome.state, outcome.steps = bench.deltas.state(scale), step
        outcome.dev_after, outcome.kl = score.fb, score.kl


def _price(state: _State, limit: float) -> float:
    """The kappa at which the divergence should come out just below its limit.

    Measured on the demo model, the divergence goes with about kappa^-0.4.
    """
    # An unchanged model may measure a little below zero, in float arithmetic.
    change = (max(0.0, state.score.mean_kl) / max(_TARGET * limit, 1e-12)) ** 2.5
    return max(_CHEAPEST, state.kappa * min(max(change, 1 / _LARGEST), _LARGEST))


def _entry(step: int, loss: float, state: _State) -> Step:
    return {
        "step": step,
        "loss_bias": loss,
        "loss_keep": state.score.mean_kl,
        "dev_fb": state.score.fb,
        "kl": state.score.mean_kl,
        "keep": state.kappa,
    }
