"""Reading and writing slices of a tensor in memory: all of it, some rows, or single entries.

A slice is given by its `kind`, an `axis` and an int64 `index`. `rows` are the slices `index`
along `axis` (0 or 1) of the last two dimensions; a tensor with more dimensions is a stack of
matrices, and slice number `s` is slice `s % n` of matrix `s // n`, n being the slices of one
matrix. `entries` are positions in the flattened tensor, `whole` is everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WHOLE, ROWS, ENTRIES = "whole", "rows", "entries"


def gather(
    tensor: torch.Tensor, kind: str, axis: int = 0, index: torch.Tensor | None = None
) -> torch.Tensor:
    """The values of a slice: [k, slice length] for `rows`, [n] for `entries`, all for `whole`.

    `tensor` may have any strides; nothing but the result is allocated, and for `whole` it is
    the tensor itself.
    """
    if index is None:
        return tensor
    tensor = _indexed(tensor, kind)
    values = tensor[_coordinates(tensor, kind, axis, index)]
    return values.T if _comes_transposed(tensor, kind, axis) else values


def scatter(
    tensor: torch.Tensor,
    values: torch.Tensor,
    kind: str,
    axis: int = 0,
    index: torch.Tensor | None = None,
) -> None:
    """Write `values`, shaped as `gather` gives them, into the slice (through a view)."""
    values = values.to(device=tensor.device, dtype=tensor.dtype)
    if index is None:
        tensor.copy_(values)
        return
    tensor = _indexed(tensor, kind)
    if _comes_transposed(tensor, kind, axis):
        values = values.T
    tensor[_coordinates(tensor, kind, axis, index)] = values


def _indexed(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    """The view that is indexed: for entries the flattened one, where strides allow it."""
    return tensor.view(-1) if kind == ENTRIES and tensor.is_contiguous() else tensor


def _comes_transposed(tensor: torch.Tensor, kind: str, axis: int) -> bool:
    """Whether indexing gives the slices last: columns of a single matrix."""
    return kind == ROWS and tensor.dim() == 2 and axis == 1


def _coordinates(
    tensor: torch.Tensor, kind: str, axis: int, index: torch.Tensor
) -> tuple[torch.Tensor | slice, ...]:
    """What to index a tensor with."""
    import torch

    index = index.to(tensor.device)
    if kind == ENTRIES and tensor.dim() == 1:
        return (index,)
    if kind == ENTRIES:
        return torch.unravel_index(index, tensor.shape)
    if tensor.dim() < 3:
        return (slice(None), index) if axis else (index,)
    size = tensor.shape[axis - 2]
    leading = torch.unravel_index(index // size, tensor.shape[:-2])
    within = index % size
    return (*leading, slice(None), within) if axis else (*leading, within)
