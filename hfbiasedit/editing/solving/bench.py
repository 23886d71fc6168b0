"""What a round of the default solver needs: coordinates, batches, the way back to weights."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import PRICED, prices
from hfbiasedit.editing.material.prompts import Prompts
from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.running.recording import Key, Passed, recorded
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, rank_for
from hfbiasedit.editing.solving.linearisation import Linear, Sample, linearised
from hfbiasedit.editing.solving.task import Outcome, Task, prepared
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice

ROUNDS = 6
HELD = 8  # the gender mass is held for every eighth prompt: it does not differ much
# Coordinates, beyond which selections move in leading directions only: one for so many weights of
# the model, within bounds, so that work with them stays in proportion to the passes. (1 % of
# SmolLM2 has 1.3 million: cut to half a million rows come nearly as far in 0.6 of the time.)
_SHARE, _FEWEST, _MOST = 512, 1 << 19, 1 << 21
_DIRECTIONS = 1024  # vectors per side of a matrix that leading directions are taken from


@dataclass(frozen=True)
class Bench:
    """What a round of an edit needs.

    Attributes:
        sample: the prompts that the round learns from.
        start: the deltas where the round begins, to which its moves are added.
        spent: their divergence on the watched windows.
        reached: the distance on dev there; None in the first round.
        rate: divergence that a move of the first round cost, by what was predicted; None there.
    """

    task: Task
    deltas: Deltas
    coordinates: Coordinates
    sample: Sample
    dev: list[PromptBatch]
    start: Mapping[str, Tensor]
    spent: float = 0.0
    reached: float | None = None
    rate: float | None = None
    round: int = 1

    @property
    def limit(self) -> float:
        """Divergence that is allowed at the end of this round: what is left is for later ones."""
        return self.task.config.allowed_kl * math.sqrt(self.round / ROUNDS)

    def write(self, move: Tensor) -> None:
        """Set the deltas to a move [D] from the start, and with them the model's weights."""
        change = self.coordinates.to_weights(move)
        self.deltas.set_({name: base + change[name].to(base) for name, base in self.start.items()})

    def linear(self) -> Linear:
        """Differentiate the prompts at the start, where the model must be."""
        return linearised(self.task.loaded, self.coordinates, self.sample, self.task.trunk)


@dataclass(frozen=True)
class Prepared:
    """What was made of a selection while its budget was searched for: it need not be made again.

    Attributes:
        linear: of the first round; None where that is behind.
    """

    coordinates: Coordinates
    linear: Linear | None


def widest(parameters: int) -> int:
    """How many coordinates an edit of a model of so many weights has at most."""
    return min(max(parameters // _SHARE, _FEWEST), _MOST)


def bench_of(task: Task, deltas: Deltas, coordinates: Coordinates | None = None) -> Bench:
    """Set up the first round: the deltas are zero, the prompts are those that were measured.

    `coordinates` are those of the selection, where they are known.
    """
    sample = _sample(task, task.prompts, task.train)
    coordinates = coordinates or _coordinates(task, deltas, sample)
    dev = prepared(task, task.prompts.batches(task.dev))
    return Bench(task, deltas, coordinates, sample, dev, deltas.state())


def bench_at(
    first: Bench, prompts: Prompts, numbers: Sequence[int], outcome: Outcome, number: int
) -> Bench:
    """Set up a further round at the best state so far, where the deltas must be.

    Of its prompts, some `numbers` of `prompts`, those whose mass is held must have been measured.
    """
    return replace(
        first,
        sample=_sample(first.task, prompts, numbers),
        start=first.deltas.state(),
        spent=outcome.mean_kl,
        reached=outcome.dev_after,
        rate=_rate(outcome),
        round=number,
    )


def _rate(outcome: Outcome) -> float | None:
    """By the last move of the first round, which is the one nearest to what is allowed."""
    first = [step for step in outcome.history if step["step"] == 1 and step["loss_keep"] > 0]
    return first[-1]["kl"] / first[-1]["loss_keep"] if first else None


def held_of(numbers: Sequence[int]) -> Sequence[int]:
    """The prompts of a round whose gender mass is held."""
    return numbers[::HELD]


def _sample(task: Task, prompts: Prompts, numbers: Sequence[int]) -> Sample:
    order, held = prompts.batches(numbers), prompts.batches(held_of(numbers))
    return Sample(prompts.records, order, held, task.config.mass)


def _coordinates(task: Task, deltas: Deltas, sample: Sample) -> Coordinates:
    """Those of the selection; where they are too many, cut to what the sample speaks for."""
    if any(name not in task.prices for name in deltas.slices):  # once, while it is the original
        windows = choose(task.keep, range(min(PRICED, len(task.keep))))
        task.prices = prices(task.loaded, deltas.slices, windows, task.config.seed, task.trunk)
    coordinates = Coordinates.of(task.loaded.model, deltas.slices, task.prices)
    rank = rank_for(coordinates, deltas.slices, widest(task.loaded.parameters))
    if rank is not None:
        _narrow(task, coordinates, sample, deltas.slices, rank)
    return coordinates


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
