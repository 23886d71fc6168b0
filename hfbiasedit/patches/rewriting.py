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
_WINDOW = 1 << 22  # bytes held at a time


class State(NamedTuple):
    """Whether all edited weights hold their old values, and whether all hold their new ones."""

    old: bool
    new: bool


class _Window(NamedTuple):
    offset: int  # in the file
    length: int  # elements
    inside: np.ndarray | slice  # of the edited weights
    old: np.ndarray
    new: np.ndarray


def state(handle: int, info: TensorInfo, edit: TensorEdit) -> State:
    """Compare a stored tensor with both sides of its edit, bit for bit."""
    old = new = True
    for window in _windows(info, edit):
        found = _read(handle, window, edit)[window.inside]
        old = old and np.array_equal(found, window.old)
        new = new and np.array_equal(found, window.new)
        if not (old or new):
            break
    return State(bool(old), bool(new))


def write(handle: int, info: TensorInfo, edit: TensorEdit, *, new: bool) -> int:
    """Write one side of an edit into a file; returns the bytes written."""
    written = 0
    for window in _windows(info, edit):
        values = window.new if new else window.old
        if len(values) == window.length:
            content = np.ascontiguousarray(values)
        else:
            content = _read(handle, window, edit)
            content[window.inside] = values
        _write_all(handle, content.view(np.uint8).data, window.offset)
        written += content.nbytes
    return written


def is_between(handle: int, info: TensorInfo, edit: TensorEdit) -> bool:
    """Whether every byte of the edited weights is that of the old or of the new value.

    True for whatever an interrupted write can leave behind.
    """
    for window in _windows(info, edit):
        found = _bytes(_read(handle, window, edit)[window.inside])
        if ((found != _bytes(window.old)) & (found != _bytes(window.new))).any():
            return False
    return True


def restored_pieces(handle: int, info: TensorInfo, edit: TensorEdit) -> Iterator[memoryview]:
    """The bytes of a stored tensor with the old values in place of the edited weights."""
    offset = info.begin
    for window in _windows(info, edit):
        yield from _plain_pieces(handle, edit.name, offset, window.offset)
        content = _read(handle, window, edit)
        content[window.inside] = window.old
        yield content.view(np.uint8).data
        offset = window.offset + content.nbytes
    yield from _plain_pieces(handle, edit.name, offset, info.end)


def _plain_pieces(handle: int, name: str, start: int, stop: int) -> Iterator[memoryview]:
    while start < stop:
        piece = _pread(handle, min(_WINDOW, stop - start), start, name)
        start += len(piece)
        yield memoryview(piece)


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


def _read(handle: int, window: _Window, edit: TensorEdit) -> np.ndarray:
    kind = FLOATS[edit.dtype].bits
    content = _pread(handle, window.length * kind.itemsize, window.offset, edit.name)
    return np.frombuffer(content, kind)


def _pread(handle: int, length: int, offset: int, name: str) -> bytearray:
    content = bytearray(length)
    view, done = memoryview(content), 0
    while done < length:
        piece = _read_at(handle, length - done, offset + done)
        if not piece:
            raise BiasEditError(f"the file with {name} was cut short while it was read")
        view[done : done + len(piece)] = piece
        done += len(piece)
    return content


def _write_all(handle: int, content: memoryview, offset: int) -> None:
    done = 0
    while done < len(content):
        done += _write_at(handle, content[done:], offset + done)


def _read_at(handle: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, length, offset)
    os.lseek(handle, offset, os.SEEK_SET)  # Windows; every handle has one user
    return os.read(handle, length)


def _write_at(handle: int, content: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, content, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.write(handle, content)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)
