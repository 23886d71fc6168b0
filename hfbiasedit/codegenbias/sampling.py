"""Balanced samples: as even as possible over professions, then templates, then modifiers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from hfbiasedit.codegenbias.splits import rank

Item = TypeVar("Item")
Value = TypeVar("Value")
Shelves = Mapping[str, Mapping[str, Collection[str]]]


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
    shelves: dict[str, dict[str, dict[str, int]]] = {}
    for index, (profession, template, modifier) in enumerate(keys):
        shelves.setdefault(profession, {}).setdefault(template, {})[modifier] = index
    chosen = balanced_keys(shelves, size, seed, start)
    return [items[index] for index in sorted(shelves[p][t][m] for p, t, m in chosen)]


def balanced_keys(
    shelves: Shelves, size: int, seed: int, start: int = 0
) -> list[tuple[str, str, str]]:
    """The (profession, template, modifier) that `balanced_sample` takes, in the order of taking.

    Costs as much as the sample is large, not as the grid: professions with the same content share
    one object, and what is not taken is never made.

    Args:
        shelves: modifiers by template by profession.
        size, seed, start: as in `balanced_sample`.
    """
    stacks: dict[int, list[tuple[str, list[str]]]] = {}
    for shelf in shelves.values():
        if id(shelf) not in stacks:
            stacks[id(shelf)] = _stacks(shelf, seed)
    order = _shuffled(set(shelves), seed)
    queues = [
        (profession, _queue(stacks[id(shelves[profession])], place))
        for place, profession in enumerate(order)
    ]
    queues = _rotated(queues, start) if queues else []
    chosen: list[tuple[str, str, str]] = []
    while queues and len(chosen) < size:
        served = [(name, queue, next(queue, None)) for name, queue in queues]
        queues = [(name, queue) for name, queue, found in served if found is not None]
        chosen += [(name, *found) for name, _, found in served if found is not None]
    return chosen[:size]


def _stacks(shelf: Mapping[str, Collection[str]], seed: int) -> list[tuple[str, list[str]]]:
    """The templates of a profession with the modifiers of each, all in the seed's order."""
    found: dict[int, list[str]] = {}
    stacks = []
    for template in _shuffled(set(shelf), seed):
        modifiers = shelf[template]
        if id(modifiers) not in found:
            found[id(modifiers)] = _shuffled(set(modifiers), seed)
        if modifiers:
            stacks.append((template, found[id(modifiers)]))
    return stacks


def _queue(stacks: list[tuple[str, list[str]]], place: int) -> Iterator[tuple[str, str]]:
    """The templates and modifiers of one profession, a template a time, in the order to take them.

    Args:
        stacks: the templates, each with its modifiers.
        place: the profession's own place, which decides where to start.
    """
    if not stacks:
        return
    turn = place // len(stacks)
    stacks = _rotated(stacks, place)
    for row in range(max(len(modifiers) for _, modifiers in stacks)):
        for template, modifiers in stacks:
            if row < len(modifiers):
                yield template, modifiers[(place + turn + row) % len(modifiers)]


def _rotated(values: list[Value], places: int) -> list[Value]:
    places %= len(values)
    return values[places:] + values[:places]


def _shuffled(names: set[str], seed: int) -> list[str]:
    """The names in an order that depends on the seed and on each name only."""
    return sorted(names, key=lambda name: (rank("sample", str(seed), name), name))
