"""Iterators of one side, drawn from by the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

_MOST_AHEAD = 4096  # items drawn at a time


def drawing(iterator: Any) -> Callable[[int], tuple[list[Any], bool]]:
    """A function that draws the next items, and says whether there may be more.

    An exception waits until the items before it are out.
    """
    waiting: list[BaseException] = []

    def draw(count: int) -> tuple[list[Any], bool]:
        if waiting:
            raise waiting.pop()
        items: list[Any] = []
        try:
            items.extend(islice(iterator, count))
        except Exception as error:
            waiting.append(error)
        return items, bool(waiting) or len(items) == count

    return draw


def drawn(draw: Callable[[int], tuple[list[Any], bool]]) -> Any:
    """The items of a peer's iterator: one, then more and more at a time."""
    count, more = 1, True
    while more:
        items, more = draw(count)
        yield from items
        count = min(2 * count, _MOST_AHEAD)
