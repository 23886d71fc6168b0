"""What every step of the default solver needs: coordinates, batches, the way back to weights."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import PRICED, prices
from hfbiasedit.editing.material.prompts import Prompts, learning_weights, weights_of
from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.running.recording import Key, Passed, recorded
from hfbiasedit.editing.solving import storage
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, rank_for
from hfbiasedit.editing.solving.linearisation import Linear, Sample, home_of_rows, linearised
from hfbiasedit.editing.solving.task import Task, prepared
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice

HELD = 8  # the gender mass is held for every eighth prompt: it does not differ much
# Coordinates, beyond which selections move in leading directions only: one for so many weights of
# the model, within bounds, so that work with them stays in proportion to the passes. (1 % of
# SmolLM2 has 1.3 million: cut to half a million rows come nearly as far in 0.6 of the time.)
_SHARE, _FEWEST, _MOST = 512, 1 << 19, 1 << 21
_DIRECTIONS = 1024  # vectors per side of a matrix that leading directions are taken from


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

    @cached_property
    def whole(self) -> Bench:
        """The same with the task's further prompts, which have been measured."""
        task = self.task
        if not task.more:
            return self
        prompts = task.prompts.joined(task.more)
        numbers = [*task.train, *range(len(task.prompts), len(prompts))]
        return replace(self, sample=_sample(task, prompts, numbers))


def widest(parameters: int) -> int:
    """How many coordinates an edit of a model of so many weights has at most."""
    return min(max(parameters // _SHARE, _FEWEST), _MOST)


def bench_of(task: Task, deltas: Deltas) -> Bench:
    """Set up the coordinates and batches of an edit; the model is unchanged."""
    sample = _sample(task, task.prompts, task.train)
    known = task.prices or {}
    if any(name not in known for name in deltas.slices):
        windows = choose(task.keep, range(min(PRICED, len(task.keep))))
        known = prices(task.loaded, deltas.slices, windows, task.config.seed, task.trunk)
    coordinates = Coordinates.of(task.loaded.model, deltas.slices, known)
    rank = rank_for(coordinates, deltas.slices, widest(task.loaded.parameters))
    if rank is not None:
        _narrow(task, coordinates, sample, deltas.slices, rank)
    dev = prepared(task, task.prompts.batches(task.dev))
    return Bench(task, deltas, coordinates, sample, dev)


def _sample(task: Task, prompts: Prompts, numbers: Sequence[int]) -> Sample:
    """Some prompts, which have been measured; every eighth one's mass is held."""
    order, held = prompts.batches(numbers), prompts.batches(numbers[::HELD])

    def weights(batches: Sequence[PromptBatch]) -> Tensor:
        index = torch.cat([batch.index for batch in batches]).tolist()
        return torch.tensor(learning_weights(prompts, index))

    return Sample(prompts.records, order, held, weights(order), task.config.mass * weights(held))


def widened(bench: Bench, first: Linear) -> Linear:
    """A linear model of the original with the task's further prompts besides.

    Weights follow once the original's gender mass is known at all of them.
    """
    task = bench.task
    if not task.more:
        return first
    numbers = range(len(task.more))
    count, held = len(numbers), len(numbers[::HELD])
    known = len(first.records)
    total = known + count + held
    place = home_of_rows(task.loaded, bench.coordinates, total)
    rows = storage.zeros(total, bench.coordinates.total, place)
    storage.copy(first.rows, rows[:known])
    sample = Sample(
        task.more.records,
        task.more.batches(numbers),
        task.more.batches(numbers[::HELD]),
        torch.ones(count),
        torch.ones(held),
        fresh=True,
    )
    other = linearised(task.loaded, bench.coordinates, sample, task.trunk, rows=rows[known:])
    _remembered(task, sample, other)
    records, mass = first.records + other.records, torch.cat([first.mass, other.mass])
    targets = first.targets.joined(other.targets)
    for kind, scale in ((targets.share, 1.0), (~targets.share, 2 * task.config.mass)):
        chosen = kind.nonzero()[:, 0].tolist()
        found = weights_of([records[n] for n in chosen], mass[kind].tolist())
        targets.weight[kind] = scale * torch.tensor(found, dtype=torch.float64)
    return Linear(rows, targets, records, mass, first.device)


def _remembered(task: Task, sample: Sample, found: Linear) -> None:
    """What the original says to prompts that it was differentiated at needs no pass of its own."""
    index = torch.cat([batch.index for batch in sample.prompts])
    order = index.argsort()
    logits, masses = found.targets.start[: len(index)], found.mass[: len(index)].double()
    least = torch.finfo(torch.float32).tiny
    task.learn(logits[order], masses.clamp_min(least).log()[order])


def _narrow(
    task: Task,
    coordinates: Coordinates,
    sample: Sample,
    slices: Mapping[str, Slice],
    rank: int,
) -> None:
    """Cut wide tensors to the leading directions of the held prompts' inputs and gradients."""
    vectors: dict[Key, tuple[list[Tensor], list[Tensor]]] = {}
    rng = random.Random(task.config.seed)
    generator = torch.Generator().manual_seed(rng.getrandbits(62))

    def receive(passed: Passed) -> None:
        pair = coordinates.factors(passed)
        sides = [
            side.reduce(factor).flatten(0, 1)
            for side, factor in zip(coordinates.sides[passed.key], pair, strict=True)
        ]
        lengths = [side.norm(dim=1, keepdim=True) for side in sides]
        # A token counts by the length of its product, which either side shares.
        weighted = [sides[0] * lengths[1], sides[1] * lengths[0]]
        used = (lengths[0] * lengths[1]).flatten().cpu().nonzero().flatten()  # padding is not
        kept = used[torch.randperm(len(used), generator=generator)[:per_batch]]
        store = vectors.setdefault(passed.key, ([], []))
        for own, side in zip(store, weighted, strict=True):
            own.append(side.cpu()[kept])

    names = [name for name in coordinates.names if slices[name].kind != ENTRIES]
    per_batch = max(1, -(-_DIRECTIONS // max(1, len(sample.held))))
    with recorded(task.loaded.model, names, receive, coordinates.sides):
        for batch in sample.held:
            bias_terms(batch, run(task.loaded, batch, task.trunk)).logit.sum().backward()
    directions = {}
    for key, (first, second) in coordinates.sides.items():
        # An expert that was given none of these prompts' tokens does not move at all.
        seen = vectors.get(key) or ([torch.zeros(0, side.count)] for side in (first, second))
        across, along = seen
        whole = slices[key[0]].kind != ROWS
        directions[key] = (leading(across, rank) if whole else None, leading(along, rank))
    coordinates.narrowed(directions)
