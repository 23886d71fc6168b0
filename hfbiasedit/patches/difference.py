"""The patch between two checkpoint directories, tensor by tensor, without loading a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hfbiasedit.checkpoints.dtypes import FLOATS, ITEM_SIZES
from hfbiasedit.checkpoints.header import shown
from hfbiasedit.checkpoints.storage import Checkpoint, Place
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.edits import TensorEdit, costs, matrix_axes, slice_length
from hfbiasedit.patches.twins import equal_twins, refuse_untying

_PIECE = 1 << 20  # weights compared at a time


@dataclass(frozen=True)
class _Scan:
    """Where two tensors differ: how many weights, which slices along each axis, the base hash."""

    weights: int
    slices: dict[int, np.ndarray]
    sha256: str


def edits_from_checkpoints(base: Path, edited: Path) -> dict[str, TensorEdit]:
    """The differences between two checkpoints; see `Patch.from_checkpoints`.

    Tensors that change as a whole stay on disk: their edits are maps of the two files. A tied head
    that only one of the two stores beside its embedding is no difference.
    """
    before, after = Checkpoint.open(base), Checkpoint.open(edited)
    tied = _stored_once_more(before, after) | _stored_once_more(after, before)
    edits = {}
    for name in [name for name in before.tensors if name in after.tensors]:
        edit = _difference(name, before, before.tensors[name], after, after.tensors[name])
        if edit is not None:
            edits[name] = replace(edit, tied=(tied[name],)) if name in tied else edit
            edits[name].check()
    if not edits:
        raise BiasEditError("the two checkpoints hold equal tensors: there is nothing to patch")
    known = {twin for name, twin in tied.items() if name in edits and twin in before.tensors}
    refuse_untying(before, edits.keys() | known)
    return edits


def _stored_once_more(one: Checkpoint, other: Checkpoint) -> dict[str, str]:
    """Of a tied pair that `one` stores twice and `other` once: the common name -> the other name.

    Raises:
        BiasEditError: `one` has a tensor that is no copy of one that both have.
    """
    apart = sorted(one.tensors.keys() - other.tensors.keys())
    found = {}
    for name in apart:
        same = [twin for twin in equal_twins(one, name) if twin in other.tensors]
        if not same:
            raise BiasEditError(
                f"{shown(name)} is stored in only one of the two checkpoints "
                f"({len(apart)} such tensors); a patch cannot add or remove tensors"
            )
        found[same[0]] = name
    return found


def _difference(
    name: str, before: Checkpoint, one: Place, after: Checkpoint, other: Place
) -> TensorEdit | None:
    shape, dtype = one.info.shape, one.info.dtype
    if shape != other.info.shape or dtype != other.info.dtype:
        raise BiasEditError(
            f"{shown(name)} differs in shape or dtype: {dtype} {list(shape)} against "
            f"{other.info.dtype} {list(other.info.shape)}; save both in one dtype"
        )
    if not math.prod(shape):
        return None
    old, new = _mapped(before, one), _mapped(after, other)
    scan = _scan(old, new)
    if scan is None:
        return None
    if dtype not in FLOATS:
        raise BiasEditError(
            f"{shown(name)} is {dtype} and differs; only {', '.join(FLOATS)} can be patched"
        )
    if not shape:
        raise BiasEditError(f"{shown(name)} is a single number and differs; it cannot be patched")
    sizes = costs(shape, dtype, scan.weights, {a: int(s.sum()) for a, s in scan.slices.items()})
    kind, axis = min(sizes, key=lambda key: sizes[key])
    if kind == "whole":
        return TensorEdit(name, kind, None, shape, dtype, None, old, new, scan.sha256)
    if axis is None:
        positions = np.concatenate(list(_hits(old, new)))
        old, new = old.reshape(-1)[positions], new.reshape(-1)[positions]
    else:
        positions = np.flatnonzero(scan.slices[axis])
        old, new = _slices(old, axis, positions), _slices(new, axis, positions)
    return TensorEdit(
        name, kind, axis, shape, dtype, positions, np.array(old), np.array(new), scan.sha256
    )


def _mapped(checkpoint: Checkpoint, place: Place) -> np.ndarray:
    """A tensor's bit patterns, mapped from its file."""
    size = ITEM_SIZES[place.info.dtype]
    kind = FLOATS[place.info.dtype].bits if place.info.dtype in FLOATS else np.dtype(f"<u{size}")
    return np.memmap(
        checkpoint.path / place.file, kind, "r", place.info.begin, place.info.shape or (1,)
    )


def _scan(old: np.ndarray, new: np.ndarray) -> _Scan | None:
    """One pass over both tensors; None when they are equal."""
    digest = hashlib.sha256()
    shape = old.shape
    height, width = (1, old.size) if old.ndim < 2 else shape[-2:]
    rows = np.zeros(old.size // width, dtype=bool)
    columns = np.zeros((old.size // (height * width), width), dtype=bool)
    left, right = old.reshape(-1, width), new.reshape(-1, width)
    step = max(1, min(height, _PIECE // width))
    weights = 0
    for top in range(0, len(left), height):
        for start in range(top, top + height, step):
            stop = min(start + step, top + height)
            digest.update(np.ascontiguousarray(left[start:stop]).reshape(-1).view(np.uint8).data)
            differs = left[start:stop] != right[start:stop]
            if differs.any():
                weights += int(np.count_nonzero(differs))
                rows[start:stop] = differs.any(axis=1)
                columns[top // height] |= differs.any(axis=0)
    if not weights:
        return None
    found = (rows, columns.reshape(-1))
    slices = dict(zip(matrix_axes(shape), found, strict=False))
    return _Scan(weights, slices, digest.hexdigest())


def _hits(old: np.ndarray, new: np.ndarray) -> Iterator[np.ndarray]:
    left, right = old.reshape(-1), new.reshape(-1)
    for start in range(0, left.size, _PIECE):
        part = slice(start, start + _PIECE)
        yield np.flatnonzero(left[part] != right[part]) + start


def _slices(array: np.ndarray, axis: int, positions: np.ndarray) -> np.ndarray:
    """Slices along one of the last two dimensions, numbered through the stack of matrices."""
    matrices, numbers = np.divmod(positions, array.shape[axis])
    stack = array.reshape(-1, *array.shape[-2:])
    if axis == array.ndim - 2:
        return stack[matrices, numbers]
    found = np.empty((positions.size, slice_length(array.shape, axis)), array.dtype)
    for matrix in np.unique(matrices):
        inside = matrices == matrix
        found[inside] = stack[matrix][:, numbers[inside]].T
    return found
