"""Exceptions as plain values: the names of their classes, their arguments and attributes."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping
from typing import Any

_LONGEST = 300  # characters of text
# Raised in a test, exceptions of these end or skip it by their class alone.
_CONTROL = ("unittest", "doctest", "test")


def take_apart(
    error: BaseException, names: Mapping[type, str], dumps: Callable[[Any], str]
) -> list[Any]:
    """Classes from the exception's own upwards, its text, arguments and attributes.

    Args:
        error: what was raised. names: of the classes that both sides have.
        dumps: encodes a value; arguments or attributes that it refuses are left out.
    """
    classes = [
        ["", names[kind]] if kind in names else [str(kind.__module__), kind.__name__]
        for kind in type(error).__mro__
        if issubclass(kind, BaseException)
    ]
    try:
        text = str(error)[:_LONGEST]
    except BaseException:
        text = ""
    return [classes, text, _try(dumps, error.args), _try(dumps, dict(vars(error)))]


def build(
    parts: tuple[Any, ...], own: Mapping[str, type], loads: Callable[[str], Any]
) -> BaseException:
    """The exception as one of the classes known here.

    A class that is not known becomes one of its name, below those of its bases that are.
    """
    classes, text, arguments, attributes = parts
    known = [_find(str(module), str(name), own) for module, name in classes]
    kind = known[0] or _derive(str(classes[0][1]), [base for base in known if base is not None])
    arguments = (text,) if arguments is None else loads(arguments)
    try:
        if kind in own.values():  # none of the prompt's code runs: its __init__ may want anything
            made: BaseException = kind.__new__(kind, *arguments)
            made.args = arguments
        else:
            made = kind(*arguments)
    except Exception:  # a library's class that wants other arguments
        made = kind.__new__(kind)
        made.args = (text,)
    if attributes is not None:
        vars(made).update(loads(attributes))
    return made


def _try(dumps: Callable[[Any], str], value: Any) -> str | None:
    try:
        return dumps(value)
    except Exception:
        return None


def _find(module: str, name: str, own: Mapping[str, type]) -> Any:
    """A class of both sides, of Python's built-ins, or of a library module that is in use here."""
    if not module:
        return own[name]
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names or root in _CONTROL:
        return None
    holder = builtins if module == "builtins" else sys.modules.get(module)
    found = getattr(holder, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _derive(name: str, bases: list[Any]) -> Any:
    lowest = [
        base for base in bases if not any(issubclass(one, base) for one in bases if one is not base)
    ]
    name = name if name.isidentifier() else "Error"
    try:
        return type(name, tuple(lowest), {})
    except TypeError:  # two layouts that cannot be joined
        return type(name, (lowest[0] if lowest else Exception,), {})
