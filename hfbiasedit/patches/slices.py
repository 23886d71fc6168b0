"""Reading and writing the edited slices of a tensor in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def gather(
    view: torch.Tensor, kind: str, axis: int | None, positions: np.ndarray | None
) -> torch.Tensor:
    """The values at `positions`: [k, slice length] for `rows`, [n] for `entries`, all for `whole`.

    `view` may have any strides; nothing but the result is allocated.
    """
    if kind == "whole":
        return view
    values = view[_coordinates(view, kind, axis, positions)]
    return values.T if _leading_slice(view, kind, axis) else values


def scatter(
    view: torch.Tensor,
    kind: str,
    axis: int | None,
    positions: np.ndarray | None,
    values: torch.Tensor,
) -> None:
    """Write `values`, shaped as `gather` gives them, through `view`."""
    values = values.to(view.device)
    if kind == "whole":
        view.copy_(values)
        return
    if _leading_slice(view, kind, axis):
        values = values.T
    view[_coordinates(view, kind, axis, positions)] = values


def _leading_slice(view: torch.Tensor, kind: str, axis: int | None) -> bool:
    """Whether indexing gives columns of a plain matrix, which come out transposed."""
    return kind == "rows" and view.dim() == 2 and axis == 1


def _coordinates(
    view: torch.Tensor, kind: str, axis: int | None, positions: np.ndarray | None
) -> tuple[torch.Tensor | slice, ...]:
    import torch

    assert positions is not None
    shape = tuple(view.shape)

    def on_device(index: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(index, dtype=np.int64)).to(view.device)

    if kind == "entries":
        return tuple(on_device(index) for index in np.unravel_index(positions, shape))
    assert axis is not None
    matrices, numbers = np.divmod(positions, shape[axis])
    leading: tuple[torch.Tensor | slice, ...] = ()
    if len(shape) > 2:
        leading = tuple(on_device(index) for index in np.unravel_index(matrices, shape[:-2]))
    if axis == len(shape) - 2:
        return (*leading, on_device(numbers))
    return (*leading, slice(None), on_device(numbers))
