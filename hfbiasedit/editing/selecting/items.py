"""What the items of every level are: how many there are, and the best of them."""

from __future__ import annotations

from typing import Protocol

import torch

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.choice import Choice
from hfbiasedit.editing.selecting.density import apart, densest
from hfbiasedit.editing.selecting.entries import Entries
from hfbiasedit.editing.selecting.units import Units
from hfbiasedit.editing.weights.selection import rows_in, whole_of
from hfbiasedit.editing.weights.slices import Slice


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


class Blocks:
    """Decoder blocks with all their projections."""

    def count(self, ranking: Ranking) -> int:
        """The model's blocks."""
        return ranking.blocks

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Blocks by their scores."""
        scores = choice.ranking.block_scores()
        best = set(sorted(choice.blocks, key=lambda block: -scores[block])[: choice.limit.items])
        return [whole_of(item) for item in choice.projections if item.block in best], len(best)


class Everything(Blocks):
    """All blocks."""

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """All projections, those of other blocks too."""
        return [whole_of(item) for item in choice.ranking.projections], choice.limit.of


class Matrices:
    """Projection matrices."""

    def count(self, ranking: Ranking) -> int:
        """The model's projections."""
        return len(ranking.projections)

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Matrices by their scores."""
        names = [item.name for item, _ in choice.ranking.matrices() if item.block in choice.blocks]
        best = set(names[: choice.limit.items])
        return [whole_of(item) for item in choice.projections if item.name in best], len(best)


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


ITEMS: dict[str, Items] = {
    "full": Everything(),
    "layer": Blocks(),
    "module": Matrices(),
    "row": Rows(),
    "neuron": Entries(),
    "unit": Units(),
}
