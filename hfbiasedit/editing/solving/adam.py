"""Moves selected weights by small steps, holds their divergence, keeps the best state."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hfbiasedit import processes
from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material.batches import PromptBatch, by_length
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_loss, divergences
from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.room import halved
from hfbiasedit.editing.solving.task import Outcome, Score, Task, prepared, scored, settle, within
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import Slice
from hfbiasedit.levels import LEVELS

_EVALUATIONS = 12  # on dev, spread over the steps
_KEEP_WINDOWS = 8  # per step, over all processes
_MOST_KEEP = 16  # times the weight of `loss_keep` at the start
_PIECES = 3  # length groups of a step's prompts: little padding, all templates in every step


class Adam:
    """The solver of this module: it can edit any weights."""

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """None."""
        return None

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """Small steps until dev gets no better."""
        return optimise(task, deltas)


def optimise(task: Task, deltas: Deltas) -> Outcome:
    """Move the deltas until dev gets no better; they end at the best state (or at zero)."""
    config = task.config
    steps = _plan_steps(task)
    dev = prepared(task, task.prompts.batches(task.dev))
    optimiser = _optimiser(deltas, config)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(config.steps))
    before = scored(task, dev)
    outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done", noise=task.noise)
    interval = max(1, config.steps // _EVALUATIONS)
    task.remember()
    keep, waited = config.keep, 0
    with progress("editing", config.steps) as bar, deltas.attached():
        for step in range(1, config.steps + 1):
            losses = _step(task, deltas, steps[(step - 1) % len(steps)], step, keep)
            if not all(math.isfinite(value) for value in losses):
                outcome.stopped = "the loss was not finite"
                break
            optimiser.step()
            rate.step()
            deltas.write()
            bar.advance()
            if step % interval and step != config.steps:
                continue
            score = scored(task, dev)
            outcome.note(_entry(step, losses, score, keep))
            bar.describe(f"editing: distance on dev {score.fb:.1f}, KL {score.mean_kl:.4f}")
            if not math.isfinite(score.fb + score.mean_kl):
                outcome.stopped = "the model's predictions were not finite"
                break
            keep = _adapted(keep, score.mean_kl, config)
            scale, fit = within(task, deltas, dev, score, task.config.allowed_kl)
            if fit is not None and fit.fb < outcome.dev_after:
                waited = 0
                outcome.state, outcome.steps = deltas.state(scale), step
                outcome.dev_after, outcome.kl = fit.fb, fit.kl
            else:
                waited += 1
                if waited >= config.patience:
                    outcome.stopped = "dev got no better"
                    break
    settle(deltas, outcome)
    return outcome


def _entry(step: int, losses: tuple[float, float], score: Score, keep: float) -> Step:
    return {
        "step": step,
        "loss_bias": losses[0],
        "loss_keep": losses[1],
        "dev_fb": score.fb,
        "kl": score.mean_kl,
        "keep": keep,
    }


def _adapted(keep: float, kl: float, config: EditConfig) -> float:
    """More weight on keeping when the divergence nears its limit, less when it is far from it."""
    if not config.keep or not config.allowed_kl:
        return keep
    if kl > config.allowed_kl:
        return min(_MOST_KEEP * config.keep, keep * min(2.0, kl / config.allowed_kl))
    return max(config.keep, keep / 1.5) if kl < 0.6 * config.allowed_kl else keep


def _schedule(steps: int) -> Any:
    """Warm-up over the first twentieth, then a cosine down to a tenth."""
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))

    return factor


def _optimiser(deltas: Deltas, config: EditConfig) -> torch.optim.Optimizer:
    relative = config.learning_rate or LEVELS[config.granularity].step
    groups = []
    for name, value in deltas.values.items():
        size = float(deltas.base[name].float().square().mean().sqrt())
        groups.append({"params": [value], "lr": relative * max(size, 1e-4)})
    return torch.optim.Adam(groups, betas=(0.9, 0.98), eps=1e-12)


def _plan_steps(task: Task) -> list[list[PromptBatch]]:
    """One pass over the training prompts: batches of every step, with their hidden states.

    All processes make the same plan and keep their own part of it.
    """
    config, rng = task.config, random.Random(task.config.seed)
    order = list(task.train)
    rng.shuffle(order)
    size = min(config.batch_size, len(order))
    plan = []
    for start in range(0, len(order) - size + 1, size):
        mine = processes.share(order[start : start + size])
        most = halved(max(1, math.ceil(len(mine) / _PIECES)))
        pieces = by_length(task.prompts.encoded, mine, most)
        batches = [task.prompts.batch(piece, [1 / size] * len(piece)) for piece in pieces]
        plan.append(prepared(task, batches))
    return plan


def _step(
    task: Task, deltas: Deltas, batches: Sequence[PromptBatch], step: int, keep: float
) -> tuple[float, float]:
    """Fill the gradients of one step; returns the losses of all processes together."""
    for value in deltas.values.values():
        value.grad = None
    device = task.loaded.device
    bias, kept = torch.zeros((), device=device), torch.zeros((), device=device)
    with checkpointing(task.loaded.model, task.config.checkpoint):
        for batch in batches:
            loss = bias_loss(batch, run(task.loaded, batch, task.trunk), task.config.mass)
            loss.backward()
            bias += loss.detach().to(device)
        if keep:
            chosen, share = _keep_batch(task, step)
            size = halved(_KEEP_WINDOWS)
            for start in range(0, len(chosen), size):
                windows = choose(task.keep, chosen[start : start + size])
                assert windows.original is not None
                kl = divergences(windows.original, run(task.loaded, windows, task.trunk))
                loss = kl.sum() * share
                (keep * loss).backward()
                kept += loss.detach().to(device)
    gradients = []
    for value in deltas.values.values():
        if value.grad is None:
            value.grad = torch.zeros_like(value)
        gradients.append(value.grad)
    processes.add_up_([*gradients, bias, kept])
    return float(bias), float(kept)


def _keep_batch(task: Task, step: int) -> tuple[list[int], float]:
    """The numbers of this process's windows of a step, and 1 / (places of all processes)."""
    size = min(_KEEP_WINDOWS, len(task.keep))
    rng = random.Random(task.config.seed * 1_000_003 + step)
    chosen = sorted(rng.sample(range(len(task.keep)), size))
    wanted = torch.zeros(len(task.keep), dtype=torch.bool)
    wanted[chosen] = True
    places = int(wanted[task.keep.sequence].sum())
    return processes.share(chosen), 1 / max(1, places)
