"""Gauss-Newton steps in the space of prompts: the default solver, at every size and level.

A step differentiates every prompt once where the model is (`linearisation`) and solves for the best
move under a price for the predicted divergence of general code (`dual`). The price is the one under
which prompts left out come out best (`leftout`), or one that uses the allowed divergence, which is
measured (the prediction is the diagonal of a Fisher matrix): the lower FB-Score on `dev` decides.
Where it is the first, prompts left out speak against more, and that is all; where not, further
steps follow. What is judged is always the model with its weights rounded to the checkpoint's dtype.
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
_STEEPEST, _SHALLOWEST = 4.0, 0.5  # changes of the price from step to step


def solve(task: Task, deltas: Deltas, first: Linear | None = None) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero).

    The first step, from the original model, learns from `task.more` besides. `first` is the linear
    model there without those, where it has been made already.
    """
    model, config = task.loaded.model, task.config
    reached = Reached.load(task.kept)
    if reached is not None and reached.done:
        settle(deltas, reached.outcome)
        return reached.outcome
    with checkpointing(model, config.checkpoint), progress("editing", STEPS) as bar:
        bench = bench_of(task, deltas)
        if reached is not None:
            outcome, state, last_step = reached.outcome, reached.state, reached.step
            task.remember()
            bench.write(reached.state.move)
            bar.advance(last_step)
        else:
            before = scored(task, bench.dev)
            outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
            state, last_step = None, 0
        linear = first
        for step in range(last_step + 1, STEPS + 1):
            if state is not None:
                linear = bench.whole.linear(state.move)
            else:
                if linear is None or linear.rows.shape[1] != bench.coordinates.total:
                    linear = bench.linear(None)
                linear = widened(bench, linear)
            if not linear.finite:
                outcome.stopped = "the gradients were not finite"
                break
            last = outcome.dev_after
            if state is None:
                found = list(candidates(bench, linear)[1])
            else:
                found = [_descended(bench, linear, state, step)]
            for trial in found:
                outcome.history.append(_entry(step, linear, trial))
                _record(bench, trial, outcome, step)
            best = best_of(found, config.allowed_kl)
            bench.write(best.move)
            if state is None and best is found[0] and outcome.state is not None:
                outcome.stopped = "prompts left out speak against more"
                Reached(step, best, outcome, done=True).save(task.kept)
                bar.advance(STEPS)
                break
            bench.write(torch.zeros_like(best.move))
            task.remember()
            state = _next(state, best, config.allowed_kl)
            bench.write(state.move)
            bar.advance()
            bar.describe(f"editing: dev FB {state.score.fb:.1f}, KL {state.score.mean_kl:.4f}")
            stuck = step > PATIENCE and outcome.dev_after > (1 - GAIN) * last
            if stuck:
                outcome.stopped = "dev got no better"
            Reached(step, state, outcome, done=stuck or step == STEPS).save(task.kept)
            if stuck:
                break
        settle(deltas, outcome)
    return outcome


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
