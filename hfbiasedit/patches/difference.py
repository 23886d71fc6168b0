"""The patch between two checkpoint directories, tensor by tensor, without loading a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.dtypes import FLOATS, ITEM_SIZES
from hfbiasedit.patches.edits import TensorEdit, smallest
from hfbiasedit.patches.storage import Checkpoint, Place

_PIECE = 1 << 22  # bytes compared at a time


def edits_from_checkpoints(base: Path, edited: Path) -> dict[str, TensorEdit]:
    """The differences between two checkpoints; see `Patch.from_checkpoints`."""
    before, after = Checkpoint.open(base), Checkpoint.open(edited)
    apart = sorted(before.tensors.keys() ^ after.tensors.keys())
    if apart:
        raise BiasEditError(
            f"{apart[0]} is stored in only one of the two checkpoints "
            f"({len(apart)} such tensors); a patch cannot add or remove tensors"
        )
    edits = {}
    for name, place in before.tensors.items():
        edit = _difference(name, before, place, after, after.tensors[name])
        if edit is not None:
            edits[name] = edit
    if not edits:
        raise BiasEditError("the two checkpoints hold equal tensors: there is nothing to patch")
    return edits


def _difference(
    name: str, before: Checkpoint, one: Place, after: Checkpoint, other: Place
) -> TensorEdit | None:
    if one.info.shape != other.info.shape or one.info.dtype != other.info.dtype:
        raise BiasEditError(
            f"{name} differs in shape or dtype: {one.info.dtype} {list(one.info.shape)} against "
            f"{other.info.dtype} {list(other.info.shape)}; save both in one dtype"
        )
    digest = hashlib.sha256()
    size = ITEM_SIZES[one.info.dtype]
    differing: list[np.ndarray] = []
    old: list[np.ndarray] = []
    new: list[np.ndarray] = []
    start = 0
    for left, right in zip(_pieces(before, one), _pieces(after, other), strict=True):
        digest.update(left)
        if left != right:
            kind = FLOATS[one.info.dtype].bits if one.info.dtype in FLOATS else f"<u{size}"
            a, b = np.frombuffer(left, kind), np.frombuffer(right, kind)
            hits = np.flatnonzero(a != b)
            differing.append(hits + start)
            old.append(a[hits])
            new.append(b[hits])
        start += len(left) // size
    if not differing:
        return None
    if one.info.dtype not in FLOATS:
        raise BiasEditError(
            f"{name} is {one.info.dtype} and differs; only {', '.join(FLOATS)} can be patched"
        )
    if not one.info.shape:
        raise BiasEditError(f"{name} is a single number and differs; that cannot be patched")
    flat = np.concatenate(differing)
    template = TensorEdit(
        name, "entries", None, one.info.shape, one.info.dtype, flat,
        np.concatenate(old), np.concatenate(new), digest.hexdigest(),
    )  # fmt: skip
    edit = _widened(template, before, one, after, other)
    edit.check()
    return edit


def _widened(
    entries: TensorEdit, before: Checkpoint, one: Place, after: Checkpoint, other: Place
) -> TensorEdit:
    """The smallest edit with these differences; whole rows and tensors are read where they pay."""
    assert entries.positions is not None
    size = ITEM_SIZES[entries.dtype]
    listed = entries.positions.size * (8 + 2 * size)
    # Below this density of a row or tensor its indices cost less than its unchanged weights.
    if listed <= entries.numel * 2 * size // 64 and len(entries.shape) < 2:
        return entries
    width = entries.shape[-1]
    rows = np.unique(entries.positions // width)
    row_cost = rows.size * (8 + 2 * size * width)
    if len(entries.shape) > 1 and row_cost < min(listed, entries.numel * 2 * size):
        flat = (rows[:, None] * width + np.arange(width)).reshape(-1)
        old, new = _values(before, one, flat), _values(after, other, flat)
        return smallest(entries, flat, old, new) or entries
    if listed > entries.numel * size // 4:  # dense: columns or the whole may be smaller
        flat = np.arange(entries.numel)
        old, new = _values(before, one, flat), _values(after, other, flat)
        return smallest(entries, flat, old, new) or entries
    return _columns(entries, before, one, after, other)


def _columns(
    entries: TensorEdit, before: Checkpoint, one: Place, after: Checkpoint, other: Place
) -> TensorEdit:
    """The edit as columns (the rows of a Conv1D) where that is smaller."""
    assert entries.positions is not None
    if len(entries.shape) != 2:
        return entries
    height, width = entries.shape
    columns = np.unique(entries.positions % width)
    size = ITEM_SIZES[entries.dtype]
    if columns.size * (8 + 2 * size * height) >= entries.positions.size * (8 + 2 * size):
        return entries
    flat = (np.arange(height)[:, None] * width + columns).reshape(-1)
    old, new = _values(before, one, flat), _values(after, other, flat)
    return smallest(entries, flat, old, new) or entries


def _values(checkpoint: Checkpoint, place: Place, flat: np.ndarray) -> np.ndarray:
    kind = FLOATS[place.info.dtype].bits
    values = np.empty(flat.size, kind)
    start = done = 0
    for piece in _pieces(checkpoint, place):
        array = np.frombuffer(piece, kind)
        stop = int(np.searchsorted(flat, start + array.size))
        values[done:stop] = array[flat[done:stop] - start]
        start, done = start + array.size, stop
    return values


def _pieces(checkpoint: Checkpoint, place: Place) -> Iterator[bytes]:
    with open(checkpoint.path / place.file, "rb") as file:
        file.seek(place.info.begin)
        left = place.info.end - place.info.begin
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise BiasEditError(f"{checkpoint.path / place.file} was cut short while reading")
            left -= len(piece)
            yield piece
