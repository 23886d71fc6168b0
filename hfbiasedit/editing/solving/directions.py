"""Coordinates of a selection; where they are too many, in the directions that prompts speak for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import PRICED, prices
from hfbiasedit.editing.material.windows import choose
from hfbiasedit.editing.running.recording import Key, Passed, recorded
from hfbiasedit.editing.solving.coordinates import Coordinates, leading, rank_for
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice

# Coordinates, beyond which selections move in leading directions only: one for so many weights of
# the model, within bounds, so that work with them stays in proportion to the passes. (1 % of
# SmolLM2 has 1.3 million: cut to half a million rows come nearly as far in 0.6 of the time.)
_SHARE, _FEWEST, _MOST = 512, 1 << 19, 1 << 21
_DIRECTIONS = 1024  # vectors per side of a matrix that leading directions are taken from
_ASKED = 8  # of every eighth prompt


def widest(parameters: int) -> int:
    """How many coordinates an edit of a model of so many weights has at most."""
    return min(max(parameters // _SHARE, _FEWEST), _MOST)


def coordinates_for(task: Task, deltas: Deltas) -> Coordinates:
    """Those of the selection; where they are too many, cut to what some prompts speak for."""
    if any(name not in task.prices for name in deltas.slices):  # once, while it is the original
        windows = choose(task.keep, range(min(PRICED, len(task.keep))))
        task.prices = prices(task.loaded, deltas.slices, windows, task.config.seed, task.trunk)
    coordinates = Coordinates.of(task.loaded.model, deltas.slices, task.prices)
    rank = rank_for(coordinates, deltas.slices, widest(task.loaded.parameters))
    if rank is not None:
        _narrow(task, coordinates, deltas.slices, rank)
    return coordinates


def asked_of(numbers: Sequence[int]) -> Sequence[int]:
    """The prompts that leading directions are taken from."""
    return numbers[::_ASKED]


def _narrow(
    task: Task,
    coordinates: Coordinates,
    slices: Mapping[str, Slice],
    rank: int,
) -> None:
    """Cut wide tensors to the leading directions of some prompts' inputs and gradients."""
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
    batches = task.prompts.batches(asked_of(task.train))
    per_batch = max(1, -(-_DIRECTIONS // max(1, len(batches))))
    with recorded(task.loaded.model, names, receive, coordinates.sides):
        for batch in batches:
            bias_terms(batch, run(task.loaded, batch, task.trunk)).logit.sum().backward()
    directions = {}
    for key, (first, second) in coordinates.sides.items():
        # An expert that was given none of these prompts' tokens does not move at all.
        seen = vectors.get(key) or ([torch.zeros(0, side.count)] for side in (first, second))
        across, along = seen
        whole = slices[key[0]].kind != ROWS
        directions[key] = (leading(across, rank) if whole else None, leading(along, rank))
    coordinates.narrowed(directions)
