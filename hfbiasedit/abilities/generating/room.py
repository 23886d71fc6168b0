"""Keys and values with room behind them, for rows that come and go.

transformers' own layers copy all that is there for every token. Here a step writes one column, and
a row that leaves is overwritten by another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_SPARE = 64  # columns made at a time


class _Room:
    """A tensor [rows, heads, columns, size] that loses rows and gains columns in place."""

    _space: torch.Tensor
    _rows: int
    _first: int
    _end: int

    def __init__(self, *parts: torch.Tensor) -> None:
        """Copy the rows of all parts, so that all end in the same column."""
        self._space, self._end = _placed(parts)
        self._rows, self._first = self._space.shape[0], 0

    @property
    def values(self) -> torch.Tensor:
        """What is in use; a view."""
        return self._space[: self._rows, :, self._first : self._end]

    def append(self, columns: torch.Tensor) -> None:
        """Add columns [rows, heads, new, size] behind the others."""
        if self._end + columns.shape[2] > self._space.shape[2]:
            self._space, self._end = _placed([self.values], columns.shape[2])
            self._first = 0
        start, self._end = self._end, self._end + columns.shape[2]
        self._space[: self._rows, :, start : self._end] = columns

    def shrink(self, moves: Sequence[tuple[int, int]], rows: int, columns: int) -> None:
        """Copy rows (from, to); then keep the first `rows` and the last `columns`."""
        for source, place in moves:
            self._space[place] = self._space[source]
        self._rows, self._first = rows, self._end - columns


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer of a model that keeps them plain (`can_share_prefix`)."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add columns; returns all keys and values, as every layer of transformers does."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            return self._show(_Room(key_states), _Room(value_states))
        self._rooms[0].append(key_states)
        self._rooms[1].append(value_states)
        return self._show(*self._rooms)

    def join(self, others: Sequence[RoomyLayer]) -> None:
        """Add the rows of other layers, padded on the left to a common width."""
        if others:
            keys, values = zip(*(layer._rooms for layer in (self, *others)), strict=True)
            self._show(*(_Room(*(room.values for room in rooms)) for rooms in (keys, values)))

    def shrink(self, moves: Sequence[tuple[int, int]], rows: int, columns: int) -> None:
        """Copy rows (from, to); then keep the first `rows` and the last `columns`."""
        for room in self._rooms:
            room.shrink(moves, rows, columns)
        self._show(*self._rooms)

    def _show(self, keys: _Room, values: _Room) -> tuple[torch.Tensor, torch.Tensor]:
        self._rooms = (keys, values)
        self.keys, self.values = keys.values, values.values
        return self.keys, self.values


def _placed(parts: Sequence[torch.Tensor], more: int = 0) -> tuple[torch.Tensor, int]:
    """Rows of all parts in one tensor with spare columns, and the column in which they end."""
    end = max(part.shape[2] for part in parts)
    heads, size = parts[0].shape[1], parts[0].shape[3]
    rows = sum(part.shape[0] for part in parts)
    space = parts[0].new_empty(rows, heads, end + more + _SPARE, size)
    start = 0
    for part in parts:
        here = space[start : start + part.shape[0]]
        before = end - part.shape[2]
        here[:, :, :before] = 0  # masked, but it must be finite all the same
        here[:, :, before:end] = part
        start += part.shape[0]
    return space, end


def roomy_cache() -> Cache:
    """An empty cache of such layers."""
    return Cache(layer_class_to_replicate=RoomyLayer)
