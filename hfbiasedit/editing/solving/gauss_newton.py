"""Gauss-Newton rounds in the space of prompts: the default solver, at every size and level.

A round differentiates fresh prompts once where the model is (`linearisation`) and solves for the
best further move under a price for the predicted divergence of general code (`dual`). The price is
the one under which prompts left out come out best (`leftout`), or one beside it: what is measured
on `dev` decides. The next round begins at the best state so far, with prompts that nothing has
learnt from: what a move does to those is what it does to the prompts of a user, and the model's
derivatives are no longer those of the original. (More prompts in one round, or the same ones again,
do far less.) Of the allowed divergence the first rounds may use a part: the first move is the
longest one and the least certain, and what it wastes is not there for the others. A state that
costs more is drawn back towards the original, and what is lost by that is what the next round has
to do. What is judged is always the model with its weights rounded to the checkpoint's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.material.gathering import pieces
from hfbiasedit.editing.material.prompts import Prompts, measure_original
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.solving.bench import ROUNDS, Bench, Prepared, bench_at, bench_of, held_of
from hfbiasedit.editing.solving.candidates import State, candidates
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.states import Reached
from hfbiasedit.editing.solving.task import Outcome, Task, settle, within
from hfbiasedit.editing.weights.deltas import Deltas

NEAR = 0.8  # of a round's part of the limit: a try beyond that was held back by it
GAIN = 0.01  # of the distance on dev, below which a round was not worth it


def solve(task: Task, deltas: Deltas, prepared: Prepared | None = None) -> Outcome:
    """Move the deltas in a few rounds; they end at the best state (or at zero).

    `prepared` is what has been made of the selection already.
    """
    reached = Reached.load(task.kept)
    if reached is not None and reached.done:
        settle(deltas, reached.outcome)
        return reached.outcome
    with (
        checkpointing(task.loaded.model, task.config.checkpoint),
        progress("editing", ROUNDS) as bar,
    ):
        lessons = _lessons(task)
        bench = bench_of(task, deltas, None if prepared is None else prepared.coordinates)
        before = task.before(bench.dev)
        if reached is None:
            outcome = Outcome(
                None, before.fb, before.fb, before.kl, 0, "all rounds done", noise=task.noise
            )
            linear, gram = (None, None) if prepared is None else (prepared.linear, prepared.gram)
            reached = _round(bench, linear or bench.linear(), outcome, 1, gram)
            reached.save(task.kept)
            del linear
        del prepared  # rows of two rounds are not needed at once
        bar.advance(reached.round)
        while not reached.done:
            outcome, number = reached.outcome, reached.round + 1
            bar.describe(
                f"editing: distance on dev {outcome.dev_after:.1f}, KL {outcome.mean_kl:.4f}"
            )
            settle(deltas, outcome)
            # Where there are too few prompts for all rounds they come round again.
            lesson = lessons[(number - 1) % len(lessons)]
            here = bench_at(bench, *lesson, outcome, number)
            reached = _round(here, here.linear(), outcome, number)
            reached.save(task.kept)
            bar.advance()
        settle(deltas, reached.outcome)
    return reached.outcome


def _lessons(task: Task) -> list[tuple[Prompts, Sequence[int]]]:
    """What each round learns from, as some numbers of some prompts; the model is the original.

    What that says where the gender mass is to be held is measured, or known from before.
    """
    found: list[tuple[Prompts, Sequence[int]]] = [(task.prompts, task.train)]
    for some in pieces(task.more, task.config.seed)[: ROUNDS - 1]:
        numbers = range(len(some))
        said = task.kept.tensors(f"lesson-{len(found)}", partial(_said, task, some, numbers))
        some.share, some.log_mass = said["share"].tolist(), said["log_mass"].tolist()
        found.append((some, numbers))
    return found


def _said(task: Task, prompts: Prompts, numbers: Sequence[int]) -> dict[str, Tensor]:
    measure_original(task.loaded, prompts, held_of(numbers))
    return {"share": torch.tensor(prompts.share), "log_mass": torch.tensor(prompts.log_mass)}


def _round(
    bench: Bench, linear: Linear, outcome: Outcome, number: int, gram: Tensor | None = None
) -> Reached:
    """Measure the moves that a linear model speaks for; the best state so far is the outcome's."""
    if not linear.finite:
        outcome.stopped = "the gradients were not finite"
        return Reached(number, outcome, done=True)
    before = outcome.dev_after
    held_back = False
    for trial in candidates(bench, linear, hold=True, gram=gram)[1]:
        outcome.note(_entry(number, linear, trial))
        _record(bench, trial, outcome, number)
        held_back |= trial.score.mean_kl > NEAR * bench.part
    poor = outcome.state is None or outcome.dev_after > (1 - GAIN) * before
    last = number == ROUNDS
    if poor and (last or not held_back):
        outcome.stopped = "dev got no better"
    return Reached(number, outcome, last or (poor and not held_back))


def _record(bench: Bench, state: State, outcome: Outcome, number: int) -> None:
    """Take a state if it is the best so far within the divergence that its round may cost.

    One that the edit as a whole may cost counts where there is nothing else.
    """
    if state.score.fb >= outcome.dev_after:  # what is drawn back hardly ever gets better
        return
    bench.write(state.move)
    found = [within(bench.task, bench.deltas, bench.dev, state.score, bench.limit)]
    if outcome.state is None and state.score.mean_kl <= bench.task.config.allowed_kl:
        found.append((1.0, state.score))
    for scale, score in found:
        if score is not None and score.fb < outcome.dev_after:
            outcome.state, outcome.steps = bench.deltas.state(scale), number
            outcome.dev_after, outcome.kl = score.fb, score.kl
            return


def _entry(number: int, linear: Linear, state: State) -> Step:
    return {
        "step": number,
        "loss_bias": linear.targets.loss(linear.targets.start + linear.pushed(state.move)),
        "loss_keep": state.predicted,
        "dev_fb": state.score.fb,
        "kl": state.score.mean_kl,
        "keep": state.price,
    }
