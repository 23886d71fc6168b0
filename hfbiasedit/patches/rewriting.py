"""Edits on the bytes of a safetensors file: compare, write, and finish what was interrupted.

Everything goes through windows: stretches of the file that hold edited weights close together.
A window is read, changed and written back, so memory stays at a few megabytes and the columns of
a Conv1D cost one pass over its tensor instead of one system call per row.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hfbiasedit.checkpoints.dtypes import FLOATS
from hfbiasedit.checkpoints.header import TensorInfo
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.edits import Block, TensorEdit

_GAP = 1 << 16  # bytes between weights up to which reading on is cheaper than another call
_WINDOW = 1 << 20  # bytes held at a time: no more than fits into a core's own cache


class State(NamedTuple):
    """Whether all edited weights hold their old values, and whether all hold their new ones."""

    old: bool
    new: bool


class Written(NamedTuple):
    """What writing one side of an edit did: bytes, and weights whose bits it changed."""

    bytes: int
    weights: int


class _Window(NamedTuple):
    offset: int  # in the file
    length: int  # elements
    inside: np.ndarray | slice  # of the edited weights
    old: np.ndarray
    new: np.ndarray


def state(handle: int, info: TensorInfo, edit: TensorEdit) -> State:
    """Compare a stored tensor with both sides of its edit, bit for bit."""
    old = new = True
    reader = _Reader(handle, edit)
    for window in _windows(info, edit):
        found = reader.window(window)[window.inside]
        old = old and np.array_equal(found, window.old)
        new = new and np.array_equal(found, window.new)
        if not (old or new):
            break
    return State(bool(old), bool(new))


def write(handle: int, info: TensorInfo, edit: TensorEdit, *, new: bool) -> Written:
    """Write one side of an edit into a file that holds the other one."""
    written = changed = 0
    reader = _Reader(handle, edit)
    for window in _windows(info, edit):
        values = window.new if new else window.old
        if len(values) == window.length:
            content = np.ascontiguousarray(values)
        else:
            content = reader.window(window)
            content[window.inside] = values
        _write_all(handle, content.view(np.uint8).data, window.offset)
        written += content.nbytes
        changed += int(np.count_nonzero(window.old != window.new))
    return Written(written, changed)


def is_between(handle: int, info: TensorInfo, edit: TensorEdit) -> bool:
    """Whether every byte of the edited weights is that of the old or of the new value.

    True for whatever an interrupted write can leave behind.
    """
    reader = _Reader(handle, edit)
    for window in _windows(info, edit):
        found = _bytes(reader.window(window)[window.inside])
        if ((found != _bytes(window.old)) & (found != _bytes(window.new))).any():
            return False
    return True


def restored_pieces(handle: int, info: TensorInfo, edit: TensorEdit) -> Iterator[memoryview]:
    """The bytes of a stored tensor with the old values in place of the edited weights.

    A piece is gone when the next one is asked for.
    """
    offset = info.begin
    reader = _Reader(handle, edit)
    for window in _windows(info, edit):
        yield from reader.pieces(offset, window.offset)
        content = reader.window(window)
        content[window.inside] = window.old
        yield content.view(np.uint8).data
        offset = window.offset + content.nbytes
    yield from reader.pieces(offset, info.end)


def _windows(info: TensorInfo, edit: TensorEdit) -> Iterator[_Window]:
    size = FLOATS[edit.dtype].bits.itemsize
    for block in edit.blocks():
        for part in _stretches(block, size):
            flat = block.flat[part]
            first, count = int(flat[0]), int(flat[-1] - flat[0]) + 1
            inside = slice(None) if count == flat.size else flat - first
            offset = info.begin + first * size
            yield _Window(offset, count, inside, block.old[part], block.new[part])


def _stretches(block: Block, size: int) -> Iterator[slice]:
    """Cut a block where edited weights lie far apart, and every few megabytes of the file."""
    flat = block.flat
    if flat[-1] - flat[0] + 1 == flat.size:  # no gaps, and a block is a few megabytes at most
        yield slice(0, flat.size)
        return
    apart = np.diff(flat) * size > _GAP
    apart |= np.diff(flat * size // _WINDOW) != 0
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), flat.size]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)


class _Reader:
    """Reads from a file into the same few megabytes again and again.

    What it returned last is overwritten by the next call: memory that is fresh each time costs
    several times as much as the reading itself.
    """

    def __init__(self, handle: int, edit: TensorEdit) -> None:
        self._handle, self._edit = handle, edit
        self._memory = np.empty(0, np.uint8)

    def window(self, window: _Window) -> np.ndarray:
        """The elements of a window."""
        kind = FLOATS[self._edit.dtype].bits
        return self._read(window.length * kind.itemsize, window.offset).view(kind)

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes between two offsets, a few megabytes at a time."""
        while start < stop:
            piece = self._read(min(_WINDOW, stop - start), start)
            start += len(piece)
            yield piece.data

    def _read(self, length: int, offset: int) -> np.ndarray:
        if len(self._memory) < length:
            self._memory = np.empty(length, np.uint8)
        content = self._memory[:length]
        view, done = content.data, 0
        while done < length:
            count = _read_into(self._handle, view[done:], offset + done)
            if not count:
                raise BiasEditError(
                    f"the file with {self._edit.name} was cut short while it was read"
                )
            done += count
        return content


def _write_all(handle: int, content: memoryview, offset: int) -> None:
    done = 0
    while done < len(content):
        done += _write_at(handle, content[done:], offset + done)


def _read_into(handle: int, target: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, [target], offset)
    if hasattr(os, "pread"):
        piece = os.pread(handle, len(target), offset)
    else:  # Windows; every handle has one user
        os.lseek(handle, offset, os.SEEK_SET)
        piece = os.read(handle, len(target))
    target[: len(piece)] = piece
    return len(piece)


def _write_at(handle: int, content: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, content, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.write(handle, content)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)
