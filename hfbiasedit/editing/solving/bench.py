"""What a round of the default solver needs: coordinates, batches, the way back to weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.prompts import Prompts
from hfbiasedit.editing.solving.coordinates import Coordinates
from hfbiasedit.editing.solving.directions import coordinates_for
from hfbiasedit.editing.solving.linearisation import Linear, Sample, linearised
from hfbiasedit.editing.solving.task import Outcome, Task, prepared
from hfbiasedit.editing.weights.deltas import Deltas

ROUNDS = 6
LOOSE = 1.15  # times a round's part of the divergence: near enough not to try again
HELD = 8  # the gender mass is held for every eighth prompt: it does not differ much


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
    def part(self) -> float:
        """Divergence that this round may have led to: what is left is for later ones."""
        return self.task.config.allowed_kl * math.sqrt(self.round / ROUNDS)

    @property
    def limit(self) -> float:
        """Divergence of which no more is allowed at its end: parts need not be met exactly."""
        return min(LOOSE * self.part, self.task.config.allowed_kl)

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
        gram: its inner products, as far as they are known.
    """

    coordinates: Coordinates
    linear: Linear | None
    gram: Tensor | None = None


def bench_of(task: Task, deltas: Deltas, coordinates: Coordinates | None = None) -> Bench:
    """Set up the first round: the deltas are zero, the prompts are those that were measured.

    `coordinates` are those of the selection, where they are known.
    """
    sample = _sample(task, task.prompts, task.train)
    coordinates = coordinates or coordinates_for(task, deltas)
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
    """By the move of the first round that cost most: small ones drown in noise."""
    first = [step for step in outcome.history if step["step"] == 1 and step["loss_keep"] > 0]
    most = max(first, key=lambda step: step["kl"], default=None)
    return most["kl"] / most["loss_keep"] if most and most["kl"] > 0 else None


def held_of(numbers: Sequence[int]) -> Sequence[int]:
    """The prompts of a round whose gender mass is held."""
    return numbers[::HELD]


def _sample(task: Task, prompts: Prompts, numbers: Sequence[int]) -> Sample:
    order, held = prompts.batches(numbers), prompts.batches(held_of(numbers))
    return Sample(prompts.records, order, held, task.config.mass)
