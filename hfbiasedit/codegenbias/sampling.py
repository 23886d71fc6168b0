"""Balanced samples: as even as possible over professions, then templates, then modifiers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hfbiasedit.codegenbias.splits import rank

Item = TypeVar("Item")
Value = TypeVar("Value")


def balanced_sample(
    items: Sequence[Item],
    size: int,
    seed: int,
    key: Callable[[Item], tuple[str, str, str]],
    start: int = 0,
) -> list[Item]:
    """`size` of the items in their original order; all of them when there are no more.

    Each round takes one item of every profession. Neighbouring professions (in an order drawn
    from `seed`) start with different templates and modifiers, as in a Latin square, and a
    profession comes back to a template only after it has been through all of them.

    Args:
        key: the profession, template and modifier of an item.
        start: how many professions of the order come last in every round instead of first; what
            is not a multiple of their number gives samples of other professions.
    """
    if size >= len(items):
        return list(items)
    keys = [key(item) for item in items]
    professions, templates, modifiers = (
        {name: place for place, name in enumerate(_shuffled(set(axis), seed))}
        for axis in zip(*keys, strict=True)
    )
    shelves: list[list[list[tuple[int, int]]]] = [[[] for _ in templates] for _ in professions]
    for index, (profession, template, modifier) in enumerate(keys):
        shelf = shelves[professions[profession]][templates[template]]
        shelf.append((modifiers[modifier], index))
    queues = _rotated([_queue(shelf, place) for place, shelf in enumerate(shelves)], start)
    chosen: list[int] = []
    while len(chosen) < size:
        served = (next(queue, None) for queue in queues)
        chosen += itertools.islice((i for i in served if i is not None), size - len(chosen))
    return [items[index] for index in sorted(chosen)]


def _queue(shelf: list[list[tuple[int, int]]], place: int) -> Iterator[int]:
    """The indices of one profession's items, a template a time, in the order to take them.

    Args:
        shelf: for each template, (place of the modifier, index of the item).
        place: the profession's own place, which decides where to start.
    """
    stacks = _rotated([sorted(stack) for stack in shelf if stack], place)
    turn = place // len(stacks)
    stacks = [_rotated(stack, place + turn) for stack in stacks]
    for row in itertools.zip_longest(*stacks):
        yield from (item[1] for item in row if item is not None)


def _rotated(values: list[Value], places: int) -> list[Value]:
    places %= len(values)
    return values[places:] + values[:places]


def _shuffled(names: set[str], seed: int) -> list[str]:
    """The names in an order that depends on the seed and on each name only."""
    return sorted(names, key=lambda name: (rank("sample", str(seed), name), name))
