"""A slice of one tensor: all of it, some of its rows or columns, or single entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from hfbiasedit.models.indexing import ENTRIES, ROWS, WHOLE, gather, scatter

__all__ = ["ENTRIES", "ROWS", "WHOLE", "Slice", "entry_slice", "row_slice"]


@dataclass(frozen=True, eq=False)
class Slice:
    """Which values of the tensor `name` are meant.

    `kind`, `axis` and `index` are those of `models.indexing`; of the stacked matrices of experts
    slice `e * n + r` is slice `r` of matrix `e`. `index` is None for `whole`, else int64,
    ascending and unique.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    axis: int = 0
    index: Tensor | None = None

    @property
    def count(self) -> int:
        """How many weights are in the slice."""
        if self.index is None:
            return prod(self.shape)
        if self.kind == ENTRIES:
            return len(self.index)
        return len(self.index) * (self.shape[-1 - self.axis] if len(self.shape) > 1 else 1)

    def take(self, tensor: Tensor) -> Tensor:
        """A copy of the slice's values: k slices first for rows, [n] for entries."""
        taken = gather(tensor, self.kind, self.axis, self.index)
        return taken.clone() if self.index is None else taken

    def put_(self, tensor: Tensor, values: Tensor) -> None:
        """Write values (in the layout of `take`) into a tensor."""
        scatter(tensor, values, self.kind, self.axis, self.index)

    def entries(self) -> Tensor:
        """Positions of all weights of the slice in the flattened tensor, ascending."""
        places = torch.arange(prod(self.shape)).view(self.shape)
        return self.take(places).reshape(-1).sort().values

    def intersect(self, other: Slice) -> Slice | None:
        """What both have in common; None when that is nothing."""
        if self.kind == WHOLE:
            return other
        if other.kind == WHOLE:
            return self
        if self.kind == other.kind == ROWS and self.axis == other.axis:
            common = _common(self.index, other.index)
            return Slice(self.name, ROWS, self.shape, self.axis, common) if len(common) else None
        common = _common(self.entries(), other.entries())
        return Slice(self.name, ENTRIES, self.shape, 0, common) if len(common) else None


def row_slice(name: str, shape: Sequence[int], axis: int, rows: Tensor) -> Slice:
    """Positions along an axis, sorted and without doubles."""
    return Slice(name, ROWS, tuple(shape), axis, torch.unique(rows.to(torch.int64).cpu()))


def entry_slice(name: str, shape: Sequence[int], entries: Tensor) -> Slice:
    """Positions in the flattened tensor, sorted and without doubles."""
    return Slice(name, ENTRIES, tuple(shape), 0, torch.unique(entries.to(torch.int64).cpu()))


def _common(first: Tensor | None, second: Tensor | None) -> Tensor:
    assert first is not None
    assert second is not None
    return first[torch.isin(first, second)]
