"""What the items of every level are: how many there are, the best of them, whose a weight is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.choice import Choice
from hfbiasedit.editing.selecting.density import apart, densest
from hfbiasedit.editing.selecting.entries import Entries, numbered
from hfbiasedit.editing.selecting.units import Units
from hfbiasedit.editing.weights.selection import Selection, rows_in
from hfbiasedit.editing.weights.slices import WHOLE, Slice
from hfbiasedit.models.architecture import Projection


class Items(Protocol):
    """What a level chooses among."""

    def count(self, ranking: Ranking) -> int:
        """How many items a model has.

        Raises:
            BiasEditError: it can have none.
        """
        ...

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Slices of the best items within the limit, and how many items those are."""
        ...

    def owners(self, slices: Sequence[Slice], ranking: Ranking) -> list[Tensor]:
        """Per slice, the number of the item that each of its rows, columns or entries belongs to.

        One number for a whole tensor. Numbers need only be the same for what is the same item.
        """
        ...


class Blocks:
    """Decoder blocks with all their projections."""

    def count(self, ranking: Ranking) -> int:
        """The model's blocks."""
        return ranking.blocks

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Blocks by their scores."""
        scores = choice.ranking.block_scores()
        best = set(sorted(choice.blocks, key=lambda block: -scores[block])[: choice.limit.items])
        return [_whole(item) for item in choice.projections if item.block in best], choice.number

    def owners(self, slices: Sequence[Slice], ranking: Ranking) -> list[Tensor]:
        """The block of every tensor."""
        blocks = {item.name: item.block for item in ranking.projections}
        return [torch.tensor([blocks[part.name]]) for part in slices]


class Everything(Blocks):
    """All blocks."""

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """All projections, those of other blocks too."""
        return [_whole(item) for item in choice.ranking.projections], choice.number


class Matrices:
    """Projection matrices."""

    def count(self, ranking: Ranking) -> int:
        """The model's projections."""
        return len(ranking.projections)

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Matrices by their scores."""
        names = [item.name for item, _ in choice.ranking.matrices() if item.block in choice.blocks]
        best = set(names[: choice.limit.items])
        return [_whole(item) for item in choice.projections if item.name in best], choice.number

    def owners(self, slices: Sequence[Slice], ranking: Ranking) -> list[Tensor]:
        """Every tensor is an item."""
        return [torch.tensor([number]) for number in range(len(slices))]


class Rows:
    """Rows of projections: all weights into one output."""

    def count(self, ranking: Ranking) -> int:
        """The rows of all projections."""
        return sum(item.rows for item in ranking.projections)

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Rows by their score per weight."""
        items = choice.projections
        scores = torch.cat([choice.ranking.scores[item.name].rows for item in items])
        costs = torch.cat([torch.full((item.rows,), item.columns) for item in items])
        best = densest(scores / costs, costs, choice.limit)
        found = apart(best, [item.rows for item in items], items)
        return [rows_in(item, rows) for item, rows in found], len(best)

    def owners(self, slices: Sequence[Slice], ranking: Ranking) -> list[Tensor]:
        """Every row is an item."""
        return numbered(slices)


ITEMS: dict[str, Items] = {
    "full": Everything(),
    "layer": Blocks(),
    "module": Matrices(),
    "row": Rows(),
    "neuron": Entries(),
    "unit": Units(),
}


def items_of(pool: Selection, ranking: Ranking) -> list[Tensor]:
    """Per tensor of a selection, which item of its level each of its slices or weights is of."""
    return ITEMS[pool.granularity].owners(list(pool.slices.values()), ranking)


def _whole(item: Projection) -> Slice:
    return Slice(item.name, WHOLE, item.shape)
