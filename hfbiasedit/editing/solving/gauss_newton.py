"""Gauss-Newton steps in the space of prompts: the default solver, at every size and level.

A step differentiates every prompt once where the model is (`linearisation`) and solves for the best
move under a price for the predicted divergence of general code (`dual`). The price is the one under
which prompts left out come out best (`leftout`), a dearer one, or one that uses the allowed
divergence, which is measured (the prediction is the diagonal of a Fisher matrix): the lower
FB-Score on `dev` decides. Where more divergence is hardly better, that is all; where it is, further
steps follow. What is judged is always the model with its weights rounded to the
checkpoint's dtype.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.solving.bench import Bench, bench_of, widened
from hfbiasedit.editing.solving.candidates import TARGET, State, best_of, candidates
from hfbiasedit.editing.solving.descent import BENDS, descend
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.states import Reached
from hfbiasedit.editing.solving.task import Outcome, Task, scored, settle, within
from hfbiasedit.editing.weights.deltas import Deltas

STEPS = 4
PATIENCE = 1  # steps before a poor gain ends the search
GAIN = 0.01  # relative gain on dev below which a step was not worth it
# The same for more divergence in the first step, below which no others follow. On the demo model,
# where others help, it is 0.1; on SmolLM2, where none did, 0.016 and less.
WORTH = 0.03
_STEEPEST, _SHALLOWEST = 4.0, 0.25  # changes of the price from step to step


def solve(task: Task, deltas: Deltas, first: Linear | None = None) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero).

    `first` is the linear model at the original without `task.more`, where it has been made already.
    """
    reached = Reached.load(task.kept)
    if reached is not None and reached.done:
        settle(deltas, reached.outcome)
        return reached.outcome
    with (
        checkpointing(task.loaded.model, task.config.checkpoint),
        progress("editing", STEPS) as bar,
    ):
        bench = bench_of(task, deltas)
        if reached is None:
            reached = _first_step(bench, first)
            reached.save(task.kept)
        else:
            task.remember()
            bench.write(reached.state.move)
        bar.advance(reached.step)
        while not reached.done:
            score = reached.state.score
            bar.describe(f"editing: distance on dev {score.fb:.1f}, KL {score.mean_kl:.4f}")
            reached = _further_step(bench, reached)
            reached.save(task.kept)
            bar.advance()
        settle(deltas, reached.outcome)
    return reached.outcome


def _first_step(bench: Bench, first: Linear | None) -> Reached:
    """From the original, at several prices."""
    task, before = bench.task, bench.task.before(bench.dev)
    outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
    nowhere = torch.zeros(bench.coordinates.total)
    if first is None or first.rows.shape[1] != bench.coordinates.total:
        first = bench.linear(None)
    linear = widened(bench, first)
    if not linear.finite:
        outcome.stopped = "the gradients were not finite"
        return Reached(1, State(nowhere, 0.0, 1.0, before), outcome, done=True)
    found = list(candidates(bench, linear, hold=True)[1])
    for trial in found:
        outcome.note(_entry(1, linear, trial))
        _record(bench, trial, outcome, 1)
    limit = task.config.allowed_kl
    best = best_of(found, limit)
    against = _against_more(found, best, limit)
    if against and outcome.state is not None:
        outcome.stopped = f"{against} against more"
        return Reached(1, best, outcome, done=True)
    if STEPS == 1:
        return Reached(1, best, outcome, done=True)
    bench.write(nowhere)
    task.remember()
    bench.write(best.move)
    # Further steps pay what is measured, not what was predicted: the same price in its units.
    ratio = best.predicted / max(best.score.mean_kl, best.predicted, 1e-30)
    best = replace(best, price=ratio * best.price)
    return Reached(1, _next(None, best, limit), outcome, done=False)


def _against_more(found: list[State], best: State, limit: float) -> str:
    """What speaks against steps beyond the first one, in words; nothing where nothing does."""
    first = found[0]
    if first.score.mean_kl > limit:
        return ""
    if best.price > first.price:
        return "dev speaks"
    return "prompts left out speak" if best.score.fb > (1 - WORTH) * first.score.fb else ""


def _further_step(bench: Bench, reached: Reached) -> Reached:
    """From where the last one led, at one price, by the measured divergence."""
    step, state, outcome = reached.step + 1, reached.state, reached.outcome
    linear = bench.whole.linear(state.move)
    if not linear.finite:
        outcome.stopped = "the gradients were not finite"
        return Reached(step, state, outcome, done=True)
    last = outcome.dev_after
    found = _descended(bench, linear, state, step)
    outcome.note(_entry(step, linear, found))
    _record(bench, found, outcome, step)
    stuck = step > PATIENCE and outcome.dev_after > (1 - GAIN) * last
    if stuck:
        outcome.stopped = "dev got no better"
    state = _next(state, found, bench.task.config.allowed_kl)
    bench.write(state.move)
    return Reached(step, state, outcome, done=stuck or step == STEPS)


def _next(state: State | None, found: State, limit: float) -> State:
    """Where to go on from, and at which price: a step that made things worse is taken back."""
    if state is not None and found.score.fb > state.score.fb and state.score.mean_kl <= limit:
        return replace(state, price=_STEEPEST * max(state.price, found.price), bend=found.bend)
    # An unchanged model may measure a little below zero, in float arithmetic.
    change = (max(0.0, found.score.mean_kl) / max(TARGET * limit, 1e-12)) ** 2
    return replace(found, price=found.price * min(max(change, _SHALLOWEST), _STEEPEST))


def _descended(bench: Bench, linear: Linear, state: State, step: int) -> State:
    """A run of steps from the last state, at its price."""
    seed = bench.task.config.seed * 1_000_003 + step
    move, bend = descend(
        bench.task,
        bench.coordinates,
        bench.write,
        linear,
        state.move,
        state.price,
        seed,
        [bend for bend in BENDS if bend >= state.bend],
    )
    bench.write(move)
    predicted = float(move.square().sum()) / 2
    return State(move, predicted, state.price, scored(bench.task, bench.dev), bend)


def _record(bench: Bench, state: State, outcome: Outcome, step: int) -> None:
    """Take a state if it is the best so far within the allowed divergence."""
    bench.write(state.move)
    scale, score = within(bench.task, bench.deltas, bench.dev, state.score)
    if score is not None and score.fb < outcome.dev_after:
        outcome.state, outcome.steps = bench.deltas.state(scale), step
        outcome.dev_after, outcome.kl = score.fb, score.kl


def _entry(step: int, linear: Linear, state: State) -> Step:
    return {
        "step": step,
        "loss_bias": linear.targets.loss(linear.targets.start + linear.pushed(state.move)),
        "loss_keep": state.predicted,
        "dev_fb": state.score.fb,
        "kl": state.score.mean_kl,
        "keep": state.price,
    }
