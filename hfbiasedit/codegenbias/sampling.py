"""Balanced samples: as even as possible over professions, then templates, then modifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hfbiasedit.codegenbias.splits import rank

Item = TypeVar("Item")


def balanced_sample(
    items: Sequence[Item],
    size: int,
    seed: int,
    key: Callable[[Item], tuple[str, str, str]],
) -> list[Item]:
    """`size` of the items in their original order; all of them when there are no more.

    Each round takes one item of every profession. Within a round, neighbouring professions (in
    an order drawn from `seed`) take different templates, and the professions that share a
    template take different modifiers, as in a Latin square.

    Args:
        key: the profession, template and modifier of an item.
    """
    if size >= len(items):
        return list(items)
    keys = [key(item) for item in items]
    places = [
        {name: place for place, name in enumerate(_shuffled(set(axis), seed))}
        for axis in zip(*keys, strict=True)
    ]
    professions, templates, modifiers = places
    queues: list[list[tuple[int, int, int]]] = [[] for _ in professions]
    for index, (profession, template, modifier) in enumerate(keys):
        place = professions[profession]
        turn, offset = divmod(place, len(templates))
        queues[place].append(
            (
                (modifiers[modifier] - turn) % len(modifiers),
                (templates[template] - offset) % len(templates),
                index,
            )
        )
    for queue in queues:
        queue.sort(reverse=True)
    chosen: list[int] = []
    while len(chosen) < size:
        waiting = [queue for queue in queues if queue][: size - len(chosen)]
        chosen += [queue.pop()[-1] for queue in waiting]
    return [items[index] for index in sorted(chosen)]


def _shuffled(names: set[str], seed: int) -> list[str]:
    """The names in an order that depends on the seed and on each name only."""
    return sorted(names, key=lambda name: (rank("sample", str(seed), name), name))
