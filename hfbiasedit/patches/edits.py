"""What happens to one stored tensor: which weights, their old and their new bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hfbiasedit.checkpoints.dtypes import FLOATS, all_finite, as_torch
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    import torch

KINDS = ("rows", "entries", "whole")
Place = tuple[str, int, "torch.Tensor | None"]
BLOCK = 1 << 20  # weights handled at a time: a few dozen MB whatever the patch's size


class Block(NamedTuple):
    """Weights of one tensor: ascending flat positions int64 [n], old and new bits [n]."""

    flat: np.ndarray
    old: np.ndarray
    new: np.ndarray


@dataclass(frozen=True, eq=False)
class TensorEdit:
    """The edit of one stored tensor.

    `rows` are slices of the last two dimensions: along `axis` ndim-2 (rows of a Linear) or ndim-1
    (columns, the rows of a Conv1D). A tensor with more dimensions is a stack of matrices, and
    slice number `s` is slice `s % n` of matrix `s // n`, n being the length of `axis`.
    `positions` are int64, strictly ascending: slice numbers [k] or flat indices [n], None for
    `whole`. Bits are unsigned integers: [k, length of a slice], [n], or the tensor's shape.
    `tied` names other tensors in which a checkpoint may store the same weights again. `extra`
    keeps keys of the file's description that this version does not know. `release` gives back
    memory that reading the arrays takes, when they are maps of a file.
    """

    name: str
    kind: str
    axis: int | None
    shape: tuple[int, ...]
    dtype: str
    positions: np.ndarray | None = field(repr=False)
    old_bits: np.ndarray = field(repr=False)
    new_bits: np.ndarray = field(repr=False)
    sha256: str | None = None
    tied: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    release: Callable[[], None] | None = field(default=None, repr=False)

    @cached_property
    def index(self) -> torch.Tensor | None:
        """Slice numbers or flat indices as an int64 tensor; None for `whole`."""
        import torch

        return None if self.positions is None else torch.from_numpy(self.positions.copy())

    @property
    def place(self) -> Place:
        """Kind, axis and index in the convention of `models.indexing`."""
        return place(self.kind, self.axis, self.shape, self.positions)

    @property
    def old(self) -> torch.Tensor:
        """Old values in the tensor's dtype."""
        return as_torch(self.old_bits, self.dtype)

    @property
    def new(self) -> torch.Tensor:
        """New values in the tensor's dtype."""
        return as_torch(self.new_bits, self.dtype)

    @property
    def numel(self) -> int:
        """Weights in the whole tensor."""
        return math.prod(self.shape)

    @property
    def weights(self) -> int:
        """Weights in the patch."""
        return int(self.old_bits.size)

    @property
    def slices(self) -> int:
        """Edited rows (0 unless the kind is `rows`)."""
        return 0 if self.kind != "rows" or self.positions is None else len(self.positions)

    @property
    def changed(self) -> int:
        """Weights whose bits differ between old and new."""
        return sum(int(np.count_nonzero(block.old != block.new)) for block in self.blocks())

    def describe(self) -> dict[str, Any]:
        """The tensor's entry in the file's metadata."""
        entry: dict[str, Any] = dict(self.extra) | {
            "kind": self.kind,
            "axis": self.axis,
            "shape": list(self.shape),
            "dtype": self.dtype,
        }
        if self.sha256 is not None:
            entry["sha256"] = self.sha256
        if self.tied:
            entry["tied"] = list(self.tied)
        return entry

    def check(self) -> None:
        """Check positions and values; shapes are the business of whoever built the edit.

        Raises:
            BiasEditError: positions unsorted, repeated or out of range; values not finite.
        """
        if self.positions is not None:
            if self.kind == "rows":
                limit = self.numel // slice_length(self.shape, self.axis)
            else:
                limit = self.numel
            last = -1
            for part in self.pieces(self.positions):
                # Compared, not subtracted: hostile positions overflow.
                if part[0] <= last or part[-1] >= limit or (part[1:] <= part[:-1]).any():
                    raise BiasEditError(
                        f"the positions in {self.name} are not ascending or out of range; "
                        "the patch is damaged"
                    )
                last = int(part[-1])
        for side, bits in (("old", self.old_bits), ("new", self.new_bits)):
            if not all(all_finite(part, self.dtype) for part in self.pieces(bits)):
                raise BiasEditError(f"the {side} values of {self.name} are not all finite")

    def pieces(self, array: np.ndarray) -> Iterator[np.ndarray]:
        """One of the edit's arrays, flat and in pieces, memory given back after each."""
        flat = array.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            yield flat[start : start + BLOCK]
            if self.release is not None:
                self.release()

    def blocks(self, limit: int = BLOCK) -> Iterator[Block]:
        """All weights in file order, about `limit` at a time."""
        for block in self._blocks(limit):
            yield block
            if self.release is not None:
                self.release()

    def _blocks(self, limit: int) -> Iterator[Block]:
        if self.positions is None:
            old, new = self.old_bits.reshape(-1), self.new_bits.reshape(-1)
            for start in range(0, old.size, limit):
                stop = min(start + limit, old.size)
                yield Block(np.arange(start, stop), old[start:stop], new[start:stop])
        elif self.kind == "entries":
            for start in range(0, self.positions.size, limit):
                part = slice(start, start + limit)
                yield Block(self.positions[part], self.old_bits[part], self.new_bits[part])
        elif self.axis == len(self.shape) - 2:
            yield from self._row_blocks(limit)
        else:
            yield from self._column_blocks(limit)

    def _row_blocks(self, limit: int) -> Iterator[Block]:
        assert self.positions is not None
        width = self.shape[-1]
        step = max(1, limit // width)
        for start in range(0, len(self.positions), step):
            part = slice(start, start + step)
            flat = self.positions[part, None] * width + np.arange(width)
            yield Block(
                flat.reshape(-1), self.old_bits[part].reshape(-1), self.new_bits[part].reshape(-1)
            )

    def _column_blocks(self, limit: int) -> Iterator[Block]:
        assert self.positions is not None
        height, width = self.shape[-2:]
        matrices, columns = np.divmod(self.positions, width)
        for matrix in np.unique(matrices):
            part = slice(*np.searchsorted(matrices, [matrix, matrix + 1]))
            chosen = columns[part]
            step = max(1, limit // len(chosen))
            for top in range(0, height, step):
                rows = np.arange(top, min(top + step, height)) + matrix * height
                flat = rows[:, None] * width + chosen
                old = self.old_bits[part, top : top + step].T
                new = self.new_bits[part, top : top + step].T
                yield Block(flat.reshape(-1), old.reshape(-1), new.reshape(-1))


def place(
    kind: str, axis: int | None, shape: tuple[int, ...], positions: np.ndarray | None
) -> Place:
    """Kind, axis among the last two and index, from an edit's own axis and positions."""
    import torch

    inner = 0 if axis is None else axis - len(shape) + 2
    # A copy: the positions of a loaded patch are a map of its file.
    return kind, inner, None if positions is None else torch.from_numpy(positions.copy())


def slice_length(shape: tuple[int, ...], axis: int | None) -> int:
    """Weights in one slice along `axis`, one of the last two dimensions."""
    return shape[-1] if axis == len(shape) - 2 else shape[-2]


def payload_shape(kind: str, axis: int | None, shape: tuple[int, ...], count: int) -> tuple:
    """The shape of `old` and `new` for `count` slices or entries."""
    if kind == "rows":
        return (count, slice_length(shape, axis))
    return (count,) if kind == "entries" else shape


def costs(
    shape: tuple[int, ...], dtype: str, weights: int, slices: Mapping[int, int]
) -> dict[tuple[str, int | None], int]:
    """Bytes that each kind of edit would take: (kind, axis) -> positions and both sides.

    weights: how many weights change; slices: axis -> how many slices along it hold one.
    """
    both = 2 * FLOATS[dtype].bits.itemsize
    found: dict[tuple[str, int | None], int] = {("whole", None): math.prod(shape) * both}
    for axis, count in slices.items():
        found["rows", axis] = count * (8 + both * slice_length(shape, axis))
    found["entries", None] = weights * (8 + both)
    return found


def matrix_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions along which a tensor has slices: the last two, none of a vector."""
    return (len(shape) - 2, len(shape) - 1) if len(shape) > 1 else ()


def smallest(
    edit: TensorEdit, flat: np.ndarray, old: np.ndarray, new: np.ndarray
) -> TensorEdit | None:
    """The smallest edit of the same tensor that makes these changes; None when there are none.

    `flat` (ascending) may list weights whose bits stay as they are: whole rows or columns can
    only be formed of weights that are listed. Of equal sizes whole, then rows, is preferred.
    """
    changed = old != new
    hits = flat[changed]
    if not hits.size:
        return None
    numbers = {axis: slice_numbers(flat, edit.shape, axis) for axis in matrix_axes(edit.shape)}
    chosen = {axis: np.unique(found[changed]) for axis, found in numbers.items()}
    counts = {}
    for axis, found in numbers.items():
        if np.isin(found, chosen[axis]).sum() == chosen[axis].size * slice_length(edit.shape, axis):
            counts[axis] = chosen[axis].size
    sizes = costs(edit.shape, edit.dtype, hits.size, counts)
    if flat.size < edit.numel:
        del sizes["whole", None]
    kind, axis_ = min(sizes, key=lambda key: sizes[key])
    if kind == "entries":
        old, new = old[changed], new[changed]
        return replace(edit, kind=kind, axis=None, positions=hits, old_bits=old, new_bits=new)
    if axis_ is None:
        old, new = old.reshape(edit.shape), new.reshape(edit.shape)
        return replace(edit, kind=kind, axis=None, positions=None, old_bits=old, new_bits=new)
    keep = np.isin(numbers[axis_], chosen[axis_])
    # A stable sort by slice leaves the weights of each slice in their order along it.
    order = np.argsort(numbers[axis_][keep], kind="stable")
    rows = (-1, slice_length(edit.shape, axis_))
    old, new = old[keep][order].reshape(rows), new[keep][order].reshape(rows)
    return replace(edit, kind=kind, axis=axis_, positions=chosen[axis_], old_bits=old, new_bits=new)


def slice_numbers(flat: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """The number of the slice along `axis` that each flat position lies in."""
    height, width = shape[-2:]
    if axis == len(shape) - 2:
        return flat // width
    return flat // (height * width) * width + flat % width
