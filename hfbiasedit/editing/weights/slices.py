"""A slice of one tensor: all of it, some of its rows or columns, or single entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

WHOLE, ROWS, ENTRIES = "whole", "rows", "entries"


@dataclass(frozen=True, eq=False)
class Slice:
    """Which values of the tensor `name` are meant.

    `rows` means the slices `index` along `axis` (0 or 1) of the last two axes; in stacked matrices
    (experts) slice `e * n + r` is slice `r` of matrix `e`, n being the slices of one matrix.
    `entries` means the positions `index` in the flattened tensor, `whole` everything (`index` is
    None). Indices are int64, ascending and unique.
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
        if self.index is None:
            return tensor.clone()
        if self.kind == ENTRIES:
            return tensor.reshape(-1)[self.index.to(tensor.device)]
        taken = tensor[self._place(tensor.device)]
        return taken.T if self._is_transposed else taken

    def put_(self, tensor: Tensor, values: Tensor) -> None:
        """Write values (in the layout of `take`) into a contiguous tensor."""
        if self.index is None:
            tensor.copy_(values)
        elif self.kind == ENTRIES:
            tensor.view(-1)[self.index.to(tensor.device)] = values.to(tensor.dtype)
        else:
            values = values.T if self._is_transposed else values
            tensor[self._place(tensor.device)] = values.to(tensor.dtype)

    def entries(self) -> Tensor:
        """Positions of all weights of the slice in the flattened tensor, ascending."""
        places = torch.arange(prod(self.shape)).view(self.shape)
        return self.take(places).reshape(-1).sort().values

    @property
    def _is_transposed(self) -> bool:
        """Whether indexing gives the slices last: columns of a single matrix."""
        return len(self.shape) == 2 and self.axis == 1

    def _place(self, device: torch.device) -> tuple[Tensor | slice, ...]:
        """What to index a tensor with to get the k slices first."""
        assert self.index is not None
        index = self.index.to(device)
        if len(self.shape) < 3:
            return (slice(None), index) if self.axis else (index,)
        size = self.shape[-2 + self.axis]
        matrix, within = index // size, index % size
        return (matrix, slice(None), within) if self.axis else (matrix, within)

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
