"""Balanced samples: as even as possible over professions, then templates, then modifiers."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from hfbiasedit.codegenbias.splits import rank

Item = TypeVar("Item")
Value = TypeVar("Value")
Shelves = Mapping[str, Mapping[str, Collection[str]]]
# The modifiers of a template: each once, then once more those that are there twice, and so on.
Rounds = list[list[str]]


def balanced_sample(
    items: Sequence[Item],
    size: int,
    seed: int,
    key: Callable[[Item], tuple[str, str, str]],
    start: int = 0,
    name: Callable[[Item], str] = str,
) -> list[Item]:
    """`size` of the items in their original order; all of them when there are no more.

    Each round takes one item of every profession. Neighbouring professions (in an order drawn
    from `seed`) start with different templates and modifiers, as in a Latin square, and a
    profession comes back to a template only after it has been through all of them. Items of one
    key (prompts of one's own that name neither template nor modifier) count like any others.

    Args:
        key: the profession, template and modifier of an item.
        start: how many professions of the order come last in every round instead of first; what
            is not a multiple of their number gives samples of other professions.
        name: tells the items of one key apart, and with the seed decides which go first.
    """
    if size >= len(items):
        return list(items)
    shelves: dict[str, dict[str, list[str]]] = {}
    places: dict[tuple[str, str, str], list[int]] = {}
    for index, (profession, template, modifier) in enumerate(map(key, items)):
        shelves.setdefault(profession, {}).setdefault(template, []).append(modifier)
        places.setdefault((profession, template, modifier), []).append(index)
    taken = Counter(balanced_keys(shelves, size, seed, start))
    chosen: list[int] = []
    for found, number in taken.items():
        alike = places[found]
        if number < len(alike):
            alike = sorted(alike, key=lambda index: rank("sample", str(seed), name(items[index])))
        chosen += alike[:number]
    return [items[index] for index in sorted(chosen)]


def balanced_keys(
    shelves: Shelves, size: int, seed: int, start: int = 0
) -> list[tuple[str, str, str]]:
    """The (profession, template, modifier) that `balanced_sample` takes, in the order of taking.

    Costs as much as the sample is large, not as the grid: professions with the same content share
    one object, and what is not taken is never made.

    Args:
        shelves: modifiers by template by profession; one that is there twice can be taken twice.
        size, seed, start: as in `balanced_sample`.
    """
    stacks: dict[int, list[tuple[str, Rounds]]] = {}
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


def _stacks(shelf: Mapping[str, Collection[str]], seed: int) -> list[tuple[str, Rounds]]:
    """The templates of a profession with the modifiers of each, all in the seed's order."""
    found: dict[int, Rounds] = {}
    stacks = []
    for template in _shuffled(set(shelf), seed):
        modifiers = shelf[template]
        if id(modifiers) not in found:
            found[id(modifiers)] = _rounds(modifiers, seed)
        if modifiers:
            stacks.append((template, found[id(modifiers)]))
    return stacks


def _rounds(modifiers: Collection[str], seed: int) -> Rounds:
    count = Counter(iter(modifiers))  # a mapping's keys, not its values
    left = _shuffled(set(count), seed)
    rounds = []
    while left:
        rounds.append(left)
        left = [modifier for modifier in left if count[modifier] > len(rounds)]
    return rounds


def _queue(stacks: list[tuple[str, Rounds]], place: int) -> Iterator[tuple[str, str]]:
    """The templates and modifiers of one profession, a template a time, in the order to take them.

    Args:
        stacks: the templates, each with its modifiers.
        place: the profession's own place, which decides where to start.
    """
    if not stacks:
        return
    turn = place + place // len(stacks)
    lines: Iterable[tuple[str, Iterator[str]]] = (
        (template, _in_turn(rounds, turn)) for template, rounds in _rotated(stacks, place)
    )
    while lines:  # one by one: a small sample of a large grid takes few of the first round
        served = []
        for template, line in lines:
            found = next(line, None)
            if found is not None:
                served.append((template, line))
                yield template, found
        lines = served


def _in_turn(rounds: Rounds, turn: int) -> Iterator[str]:
    return chain.from_iterable(_rotated(modifiers, turn) for modifiers in rounds)


def _rotated(values: list[Value], places: int) -> list[Value]:
    places %= len(values)
    return values[places:] + values[:places]


def _shuffled(names: set[str], seed: int) -> list[str]:
    """The names in an order that depends on the seed and on each name only."""
    return sorted(names, key=lambda name: (_place(seed, name), name))


@functools.lru_cache(maxsize=1 << 12)  # the same few names stand on thousands of shelves
def _place(seed: int, name: str) -> int:
    return rank("sample", str(seed), name)
