"""Gauss-Newton steps in the space of prompts: the default solver, at every size and level.

A step differentiates every prompt once where the model is (`linearisation`) and solves for the best
move under a price for the predicted divergence of general code (`dual`). The price is what is
searched for: the prediction is the diagonal of a Fisher matrix, so the divergence is measured for
every candidate, and of those within the allowed divergence the one with the lowest FB-Score on
`dev` wins. What is judged is always the model with its weights rounded to the checkpoint's dtype.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.dual import Solution, solution_at
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import PRICED, prices
from hfbiasedit.editing.material.prompts import learning_weights
from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import recorded
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, rank_for
from hfbiasedit.editing.solving.descent import BENDS, descend
from hfbiasedit.editing.solving.linearisation import Linear, Sample, linearised
from hfbiasedit.editing.solving.task import Outcome, Score, Task, prepared, scored, settle, within
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import ROWS, Slice

STEPS = 4
PATIENCE = 1  # steps before a poor gain ends the search
TRIES = 4  # prices of a step, each measured by one pass over dev and the watched windows
GAIN = 0.01  # relative gain on dev below which a step was not worth it
HELD = 8  # the gender mass is held for every eighth prompt: it does not differ much
WIDEST = 1 << 21  # coordinates; wider selections move in leading directions only
_DIRECTIONS = 1024  # vectors per side of a matrix that leading directions are taken from
_TARGET = 0.95  # of the allowed divergence
_CLOSE = 0.8  # of the allowed divergence: near enough not to try again
_TIMID = 0.25  # of the predicted divergence: a more careful candidate
_STEEPEST, _SHALLOWEST = 4.0, 0.5  # changes of the price from step to step
_LARGEST = 10.0  # change of the predicted divergence from try to try


@dataclass(frozen=True)
class State:
    """A move [D], the divergence that was predicted for it, its price and its score.

    `bend` is what made the last run of steps steady (see `descent`).
    """

    move: Tensor
    predicted: float
    price: float
    score: Score
    bend: float = BENDS[0]


@dataclass(frozen=True)
class Bench:
    """What every step of an edit needs."""

    task: Task
    deltas: Deltas
    coordinates: Coordinates
    sample: Sample
    dev: list[PromptBatch]

    def write(self, move: Tensor, scale: float = 1.0) -> None:
        """Set the deltas to a move [D], and with them the model's weights."""
        values = self.coordinates.to_weights(scale * move)
        self.deltas.set_({n: v.to(self.deltas.values[n]) for n, v in values.items()})

    def linear(self, now: Tensor | None) -> Linear:
        """Differentiate the prompts where the model is."""
        return linearised(self.task.loaded, self.coordinates, self.sample, self.task.trunk, now)


def bench_of(task: Task, deltas: Deltas) -> Bench:
    """Set up the coordinates and batches of an edit; the model is unchanged."""
    order = task.prompts.batches(task.train)
    held = task.prompts.batches(task.train[::HELD])
    sample = Sample(
        prepared(task, order),
        prepared(task, held),
        _weights(task, order),
        task.config.mass * _weights(task, held),
    )
    known = task.prices or {}
    if any(name not in known for name in deltas.slices):
        windows = choose(task.keep, range(min(PRICED, len(task.keep))))
        known = prices(task.loaded, deltas.slices, windows, task.config.seed, task.trunk)
    coordinates = Coordinates.of(task.loaded.model, deltas.slices, known)
    rank = rank_for(coordinates, deltas.slices, WIDEST)
    if rank is not None:
        _narrow(task, coordinates, sample, deltas.slices, rank)
    dev = prepared(task, task.prompts.batches(task.dev))
    return Bench(task, deltas, coordinates, sample, dev)


def _weights(task: Task, batches: Sequence[PromptBatch]) -> Tensor:
    index = torch.cat([batch.index for batch in batches]).tolist()
    return torch.tensor(learning_weights(task.prompts, index))


def solve(task: Task, deltas: Deltas, first: Linear | None = None) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero).

    `first` is the linear model at the original weights, where it has been made already.
    """
    model, config = task.loaded.model, task.config
    with checkpointing(model, config.checkpoint), progress("editing", STEPS) as bar:
        bench = bench_of(task, deltas)
        before = scored(task, bench.dev)
        outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
        state: State | None = None
        linear = first
        for step in range(1, STEPS + 1):
            if state is not None:
                linear = bench.linear(state.move)
            elif linear is None or linear.rows.shape[1] != bench.coordinates.total:
                linear = bench.linear(None)
            if not linear.finite:
                outcome.stopped = "the gradients were not finite"
                break
            last = outcome.dev_after
            if state is None:
                found = list(candidates(bench, linear, config.allowed_kl))
            else:
                found = [_descended(bench, linear, state, step)]
            for trial in found:
                outcome.history.append(_entry(step, linear, trial))
                _record(bench, trial, outcome, step)
            state = _next(state, best_of(found, config.allowed_kl), config.allowed_kl)
            bench.write(state.move)
            bar.advance()
            bar.describe(f"editing: dev FB {state.score.fb:.1f}, KL {state.score.mean_kl:.4f}")
            if step > PATIENCE and outcome.dev_after > (1 - GAIN) * last:
                outcome.stopped = "dev got no better"
                break
        settle(deltas, outcome)
    return outcome


def _next(state: State | None, found: State, limit: float) -> State:
    """Where to go on from, and at which price: a step that made things worse is taken back."""
    if state is not None and found.score.fb > state.score.fb and state.score.mean_kl <= limit:
        return replace(state, price=_STEEPEST * max(state.price, found.price), bend=found.bend)
    # An unchanged model may measure a little below zero, in float arithmetic.
    change = (max(0.0, found.score.mean_kl) / max(_TARGET * limit, 1e-12)) ** 2
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


def candidates(
    bench: Bench,
    linear: Linear,
    predicted: float,
    columns: Tensor | None = None,
    tries: int = TRIES,
) -> Iterator[State]:
    """The best moves of a linear model at several prices, measured; of some coordinates only.

    The first ones approach the allowed divergence, whose prediction is off by a factor that hardly
    changes; a more careful one follows, since what fits the prompts best need not carry over best.
    """
    gram, limit = linear.gram(columns), bench.task.config.allowed_kl
    close, careful, wanted = False, False, predicted
    found: Solution | None = None
    for _ in range(tries):
        found = solution_at(gram, linear.targets, wanted, found)
        move = linear.pulled(found.y, columns)
        bench.write(move)
        state = State(move, found.predicted, found.price, scored(bench.task, bench.dev))
        yield state
        ratio = _TARGET * limit / max(state.score.mean_kl, 1e-3 * limit, 1e-30)
        if careful:
            return
        close = close or _CLOSE * limit <= state.score.mean_kl <= limit
        if close or state.predicted < 0.5 * wanted:  # near the limit, or nothing left to gain
            careful, wanted = True, _TIMID * state.predicted
        else:
            wanted = state.predicted * min(max(ratio, 1 / _LARGEST), _LARGEST)


def best_of(found: list[State], limit: float) -> State:
    """The lowest dev score within the allowed divergence; else the smallest divergence."""
    allowed = [state for state in found if state.score.mean_kl <= limit]
    if allowed:
        return min(allowed, key=lambda state: state.score.fb)
    return min(found, key=lambda state: state.score.mean_kl)


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


def _narrow(
    task: Task,
    coordinates: Coordinates,
    sample: Sample,
    slices: Mapping[str, Slice],
    rank: int,
) -> None:
    """Cut wide tensors to the leading directions of the held prompts' inputs and gradients."""
    vectors: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    rng = random.Random(task.config.seed)
    generator = torch.Generator().manual_seed(rng.getrandbits(62))

    def receive(name: str, x: Tensor, g: Tensor) -> None:
        if name in coordinates.scales:
            return
        pair = coordinates.factors(name, x, g)
        sides = [
            side.reduce(factor).flatten(0, 1)
            for side, factor in zip(coordinates.sides[name], pair, strict=True)
        ]
        lengths = [side.norm(dim=1, keepdim=True) for side in sides]
        # A token counts by the length of its product, which either side shares.
        weighted = [sides[0] * lengths[1], sides[1] * lengths[0]]
        kept = torch.randperm(len(sides[0]), generator=generator)[:per_batch]
        store = vectors.setdefault(name, ([], []))
        for own, side in zip(store, weighted, strict=True):
            own.append(side[kept].cpu())

    per_batch = max(1, -(-_DIRECTIONS // max(1, len(sample.held))))
    with recorded(task.loaded.model, coordinates.names, receive):
        for batch in sample.held:
            bias_terms(batch, run(task.loaded, batch, task.trunk)).logit.sum().backward()
    directions = {}
    for name, (first, second) in vectors.items():
        whole = slices[name].kind != ROWS
        directions[name] = (leading(first, rank) if whole else None, leading(second, rank))
    coordinates.narrowed(directions)
