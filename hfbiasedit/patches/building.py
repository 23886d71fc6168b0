"""Patches from changes to a model in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit.checkpoints.dtypes import bits_of, name_of, same_bits
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.indexing import gather
from hfbiasedit.models.naming import Naming, StoredTensor
from hfbiasedit.patches.edits import TensorEdit, place, smallest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Change:
    """New values of one runtime parameter, in the runtime layout.

    kind: `rows` (slices along `axis`), `entries` (flat indices) or `whole`.
    index: int64 [n], any order, no repetition; None for `whole`. In a parameter with more than
        two dimensions (stacked experts) `axis` counts within the last two, and slice number
        `e * n + r` is slice `r` of matrix `e`, n being the number of slices of one matrix.
    new: [k, slice length], [n] or the parameter's shape, in the checkpoint's dtype.
    axis: 0 for `Linear`, 1 for `Conv1D` (there a row is a column); unused for the other kinds.
    """

    kind: str
    index: Any
    new: Any
    axis: int = 0


def edits_from_changes(
    model: Any, changes: Mapping[str, Change], checkpoint: str | Path | None
) -> dict[str, TensorEdit]:
    """The edits of stored tensors that `changes` amount to; see `Patch.from_changes`."""
    import torch

    model, directory = unwrapped(model)
    stored_as = _stored_dtypes(checkpoint or directory)
    naming = Naming(model, None if stored_as is None else frozenset(stored_as))
    edits: dict[str, TensorEdit] = {}
    with torch.no_grad():
        for runtime, change in changes.items():
            stored_tensors = naming.to_disk(runtime)
            parameter = naming.parameter(runtime).data
            change = _checked(runtime, change, parameter)
            for stored in stored_tensors:
                edit = _edit(stored, parameter, change, naming.tied(stored.runtime))
                if edit is None:
                    continue
                on_disk = (stored_as or {}).get(edit.name, edit.dtype)
                if on_disk != edit.dtype:
                    raise BiasEditError(
                        f"{edit.name} is stored as {on_disk} and the new values are {edit.dtype}; "
                        "load the model in its checkpoint's dtype"
                    )
                if edit.name in edits:
                    raise BiasEditError(f"{edit.name} is changed twice; combine the changes first")
                edits[edit.name] = edit
    if not edits:
        raise BiasEditError("no stored weight would change: the new values equal the old ones")
    return edits


def unwrapped(model: Any) -> tuple[Any, Path | None]:
    """(transformers model, its checkpoint directory when known) of a model or `LoadedModel`."""
    source = getattr(model, "source", None)
    if source is not None and hasattr(model, "model"):
        return model.model, Path(source.path)
    return model, None


def _stored_dtypes(checkpoint: str | Path | None) -> dict[str, str] | None:
    """Name -> dtype of all stored tensors; None when there is no checkpoint to ask."""
    from hfbiasedit.checkpoints.conversion import bin_dtypes
    from hfbiasedit.checkpoints.storage import Checkpoint, has_only_bin

    if checkpoint is None:
        return None
    if has_only_bin(Path(checkpoint)):
        return bin_dtypes(Path(checkpoint))
    opened = Checkpoint.open(Path(checkpoint))
    return {name: place.info.dtype for name, place in opened.tensors.items()}


def _checked(runtime: str, change: Change, parameter: torch.Tensor) -> Change:
    """The change with a sorted numpy index and a tensor of values, shapes and ranges checked."""
    import torch

    new = torch.as_tensor(change.new).detach()
    if name_of(new.dtype) is None:
        raise BiasEditError(
            f"{runtime} has dtype {new.dtype}, which cannot be patched exactly; "
            "edit the 16-bit or 32-bit base and quantise afterwards"
        )
    if parameter.is_meta:
        raise BiasEditError(f"{runtime} is offloaded and has no values; load the model without it")
    kind, axis, shape = change.kind, change.axis, tuple(parameter.shape)
    if kind == "rows" and len(shape) == 1:
        kind = "entries"
        new = new.reshape(-1)
    if kind == "whole":
        if tuple(new.shape) != shape:
            raise BiasEditError(f"the new values of {runtime} have shape {tuple(new.shape)}")
        return Change(kind, None, new)
    if kind not in ("rows", "entries") or axis not in (0, 1):
        raise BiasEditError(f"unknown kind of change {kind!r} or axis {axis!r} for {runtime}")
    index = np.asarray(torch.as_tensor(change.index).cpu(), dtype=np.int64).reshape(-1)
    order = np.argsort(index, kind="stable")
    index = index[order]
    wanted: tuple[int, ...] = (index.size,)
    limit = parameter.numel()
    if kind == "rows":
        width = shape[-1] if axis == 0 else shape[-2]
        limit, wanted = parameter.numel() // width, (index.size, width)
    if tuple(new.shape) != wanted:
        raise BiasEditError(
            f"the new values of {runtime} have shape {tuple(new.shape)}, not {wanted}"
        )
    if index.size and (index[0] < 0 or index[-1] >= limit or (np.diff(index) == 0).any()):
        raise BiasEditError(f"the indices for {runtime} are repeated or out of range")
    if not bool((order[1:] > order[:-1]).all()):
        new = new[torch.from_numpy(order).to(new.device)]
    return Change(kind, index, new, axis)


def _edit(
    stored: StoredTensor, parameter: torch.Tensor, change: Change, tied: tuple[str, ...]
) -> TensorEdit | None:
    """What a checked change does to one stored tensor; None when no bit of it changes."""
    view = _in_dtype(stored.runtime, stored.view(parameter), change.new.dtype)
    part = _part(stored, tuple(parameter.shape), change)
    if part is None:
        return None
    kind, axis, positions, values = part
    # Copies: the model's own memory changes when the patch is applied to it.
    old = bits_of(gather(view, *place(kind, axis, stored.shape, positions))).copy()
    new = bits_of(values).copy()
    dtype = name_of(change.new.dtype)
    assert dtype is not None
    edit = TensorEdit(stored.name, kind, axis, stored.shape, dtype, positions, old, new, None, tied)
    if kind == "whole":
        found = smallest(edit, np.arange(old.size), old.reshape(-1), new.reshape(-1))
    else:
        found = _changed_slices(edit)
    if found is None:
        return None
    digest = hashlib.sha256(bits_of(view).reshape(-1).view(np.uint8).data).hexdigest()
    found = replace(found, sha256=digest)
    found.check()
    return found


def _changed_slices(edit: TensorEdit) -> TensorEdit | None:
    """Rows or entries of which at least one bit changes."""
    assert edit.positions is not None
    differs = edit.old_bits != edit.new_bits
    keep = differs.any(axis=1) if edit.kind == "rows" else differs
    if not keep.any():
        return None
    return replace(
        edit,
        positions=edit.positions[keep],
        old_bits=edit.old_bits[keep],
        new_bits=edit.new_bits[keep],
    )


def _part(
    stored: StoredTensor, shape: tuple[int, ...], change: Change
) -> tuple[str, int | None, np.ndarray | None, torch.Tensor] | None:
    """The share of a runtime change that falls into a stored tensor, in its layout."""
    if change.kind == "whole":
        return "whole", None, None, stored.view(change.new)
    if change.kind == "rows":
        along = len(shape) - 2 + change.axis
        across = 2 * len(shape) - 3 - along
        if {along, across} == set(stored.order[-2:]) and len(stored.order) >= 2:
            return _row_part(stored, shape, change, along, across)
        change = _as_entries(shape, change, along)
    coordinates = np.unravel_index(change.index, shape)
    inside, local = _inside(stored, coordinates)
    if not inside.any():
        return None
    flat = np.ravel_multi_index([local[dim][inside] for dim in stored.order], stored.shape)
    order = np.argsort(flat)
    chosen = np.flatnonzero(inside)[order]
    return "entries", None, flat[order].astype(np.int64), change.new[_tensor_index(change, chosen)]


def _row_part(
    stored: StoredTensor, shape: tuple[int, ...], change: Change, along: int, across: int
) -> tuple[str, int | None, np.ndarray | None, torch.Tensor] | None:
    matrices, numbers = np.divmod(change.index, shape[along])
    coordinates: dict[int, np.ndarray] = {along: numbers}
    if len(shape) > 2:
        for dim, index in enumerate(np.unravel_index(matrices, shape[:-2])):
            coordinates[dim] = np.asarray(index)
    known = [
        coordinates.get(dim, np.full(numbers.shape, stored.start[across]))
        for dim in range(len(shape))
    ]
    inside, local = _inside(stored, known)
    if not inside.any():
        return None
    leading = list(stored.order[:-2])
    matrix = np.zeros(int(inside.sum()), dtype=np.int64)
    if leading:
        matrix = np.ravel_multi_index(
            [local[dim][inside] for dim in leading], [stored.length[dim] for dim in leading]
        )
    positions = matrix * stored.length[along] + local[along][inside]
    order = np.argsort(positions)
    chosen = np.flatnonzero(inside)[order]
    start = stored.start[across]
    values = change.new[_tensor_index(change, chosen)][:, start : start + stored.length[across]]
    return "rows", stored.order.index(along), positions[order].astype(np.int64), values


def _inside(stored: StoredTensor, coordinates: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Which positions lie in the stored tensor's box, and all positions relative to its start."""
    local = [
        np.asarray(coordinate) - start
        for coordinate, start in zip(coordinates, stored.start, strict=True)
    ]
    inside = np.ones(local[0].shape, dtype=bool)
    for coordinate, length in zip(local, stored.length, strict=True):
        inside &= (coordinate >= 0) & (coordinate < length)
    return inside, local


def _as_entries(shape: tuple[int, ...], change: Change, along: int) -> Change:
    """Rows as single weights, for tensors that store a matrix's dimensions apart."""
    height, width = shape[-2:]
    matrices, numbers = np.divmod(change.index, shape[along])
    if change.axis == 0:
        flat = (matrices * height + numbers)[:, None] * width + np.arange(width)
    else:
        flat = (matrices * height)[:, None] * width + np.arange(height) * width + numbers[:, None]
    return Change("entries", flat.reshape(-1), change.new.reshape(-1))


def _tensor_index(change: Change, chosen: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(chosen).to(change.new.device)


def _in_dtype(runtime: str, view: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The old values in the checkpoint's dtype, which must represent them exactly."""
    if view.dtype == dtype:
        return view
    narrow = view.to(dtype)
    # A wider dtype than the model's cannot be right either: loading has rounded the old values.
    if narrow.element_size() > view.element_size() or not same_bits(narrow.to(view.dtype), view):
        raise BiasEditError(
            f"{runtime} is loaded as {view.dtype} and does not fit {dtype} exactly; "
            "load the model in its checkpoint's dtype"
        )
    return narrow
