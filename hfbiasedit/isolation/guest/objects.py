"""Objects of classes that both sides have, taken apart into plain values and attributes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Any

# What a class may be built on: types whose content is given when they are made, or afterwards.
FROZEN: tuple[Any, ...] = (tuple, frozenset, bytes, str, int, float)
FILLED: tuple[Any, ...] = (dict, list, set, deque, bytearray)


def plain(base: Any, value: Any) -> Any:
    """The built-in value that an object is built on, whatever its class makes of iteration."""
    if base is dict:
        return dict(dict.items(value))
    if base is deque:
        return deque(deque.__iter__(value), value.maxlen)
    if base in (bytes, str, int, float):
        return base.__getnewargs__(value)[0]
    return base(base.__iter__(value))


def attributes(value: Any) -> dict[str, Any]:
    """What an object has in its dictionary and its slots."""
    slots = {name: getattr(value, name) for name in _slots(type(value)) if hasattr(value, name)}
    return {**getattr(value, "__dict__", {}), **slots}


def set_attributes(made: Any, values: dict[str, Any]) -> None:
    """Set them without running any code of the object's class."""
    slots = _slots(type(made))
    for name, value in values.items():
        if name in slots:
            object.__setattr__(made, name, value)
        else:
            vars(made)[name] = value


def overwrite(mine: Any, theirs: Any, own: Iterable[type]) -> None:
    """Give a mutable object the content that the peer left in its copy.

    Args:
        mine: an argument of a call. theirs: what the peer sent back of it.
        own: the classes that both sides have.
    """
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, list | bytearray):
        mine[:] = theirs
    elif isinstance(mine, dict | set | deque):
        mine.clear()
        (mine.extend if isinstance(mine, deque) else mine.update)(theirs)
    if type(mine) in set(own) and not isinstance(mine, Enum):
        getattr(mine, "__dict__", {}).clear()
        set_attributes(mine, attributes(theirs))


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for one in kind.__mro__:
        names = one.__dict__.get("__slots__", ())
        found += [names] if isinstance(names, str) else names
    return [name for name in found if name not in ("__dict__", "__weakref__")]
