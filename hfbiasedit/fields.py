"""Options in one place: what a field of an options class says about itself, and what it refuses.

The command line builds its parameters from the same fields (`cli.parameters`).
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hfbiasedit.errors import UsageError, unknown

T = TypeVar("T")
_KEY = "option"
_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    tuple: "a tuple",
    dict: "a dict",
    type(None): "None",
}


@dataclass(frozen=True)
class Option:
    """What a field says besides its type and its default.

    Attributes:
        help: a line for the command line's help and for the class's documentation.
        note: what the documentation says besides.
        choices: the values to choose from, or what lists them; of a `Literal` its values.
        check: `check(name, value)` raises `UsageError`; without it only `choices` are taken.
        least: the smallest number allowed. most: the largest.
        above: a number below all that are allowed.
        flags: names on the command line, where they are not made from the field's name.
        kind: type on the command line, where the field takes several.
        one: what a single value of several is called.
        repeat: given several times on the command line, instead of once with commas.
        panel: heading on the help page, where it is not among the command's own options.
        hidden: not on the command line.
    """

    help: str
    note: str = ""
    choices: Sequence[str] | Callable[[], Sequence[str]] = ()
    check: Callable[[str, Any], None] | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    flags: tuple[str, ...] = ()
    kind: type | None = None
    one: str = ""
    repeat: bool = False
    panel: str = ""
    hidden: bool = False


def option(default: T, help: str, **rest: Any) -> T:
    """A field of an options class; `rest` as in `Option`."""
    made = field(default=default, metadata={_KEY: Option(help, **rest)})
    return cast(T, made)


@dataclass(frozen=True)
class Options:
    """Base of the options classes: whatever the fields themselves can refuse is refused."""

    def __post_init__(self) -> None:
        """Check every field against its type, choices and bounds.

        Lists become tuples, and text becomes a path where only that is meant.

        Raises:
            UsageError: a value that cannot be used, in one line.
        """
        cls: Any = type(self)
        hints = hints_of(cls)
        for name, spec in options_of(cls).items():
            value = getattr(self, name)
            conversions: tuple[tuple[type, Any], ...] = ((list, tuple), (str, Path))
            for given, kind in conversions:
                if isinstance(value, given) and not _accepts(hints[name], value):
                    value = kind(value) if _accepts(hints[name], kind(value)) else value
                    object.__setattr__(self, name, value)
            if not _accepts(hints[name], value):
                raise UsageError(f"{name} is {value!r}; give {_words(hints[name])}")
            if value is not None:
                _check(name, value, spec, hints[name])


def documented(cls: type[T]) -> type[T]:
    """Add the fields' own words to the docstring of an options class."""
    lines = [f"    {name}: {o.help} {o.note}".rstrip() for name, o in options_of(cls).items()]
    cls.__doc__ = "\n".join([f"{(cls.__doc__ or '').rstrip()}\n", "Attributes:", *lines, ""])
    return cls


def options_of(cls: type) -> dict[str, Option]:
    """Name -> option of every field that has one, in the fields' order."""
    return {f.name: f.metadata[_KEY] for f in fields(cls) if _KEY in f.metadata}


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Name -> resolved type of every field."""
    return get_type_hints(cls)


def check_batch_size(name: str, value: int | str) -> None:
    """Raise `UsageError` for what is neither `auto` nor a number (or its digits) from 1 on."""
    if value != "auto" and not (str(value).isdecimal() and int(value) > 0):
        raise UsageError(f"batch size {value!r} is neither auto nor a number above 0")


def choices_of(spec: Option, hint: Any) -> tuple[str, ...]:
    """What an option offers: its choices, or the values of its `Literal`."""
    listed = spec.choices() if callable(spec.choices) else spec.choices
    return tuple(listed) or _literals(hint)


def offers_choices(spec: Option, hint: Any) -> bool:
    """Whether `choices_of` has something to list; does not ask a registry for it."""
    return bool(spec.choices) or bool(_literals(hint))


def members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; of anything else itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _literals(hint: Any) -> tuple[str, ...]:
    """The values of the `Literal` in a type, also of one inside a tuple or union."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next(filter(None, map(_literals, get_args(hint))), ())


def _check(name: str, value: Any, spec: Option, hint: Any) -> None:
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and not math.isfinite(item):
            raise UsageError(f"{name} is {item}; give a finite number")
        if spec.check is not None:
            spec.check(name, item)
        elif (known := choices_of(spec, hint)) and item not in known:
            raise unknown(spec.one or name, item, known)
        if spec.least is not None and not item >= spec.least:
            words = f"at least {spec.least}" if spec.least else "0 or more"
            raise UsageError(f"{name} is {item}; give {words}")
        if spec.most is not None and not item <= spec.most:
            raise UsageError(f"{name} is {item}; give at most {spec.most}")
        if spec.above is not None and not item > spec.above:
            raise UsageError(f"{name} is {item}; give a number above {spec.above}")


def _accepts(hint: Any, value: Any) -> bool:
    """Whether a value is of a type; a `Literal` takes any text here, its words come later."""
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_accepts(part, value) for part in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_accepts(get_args(hint)[0], v) for v in value)
    if hint in (int, float):
        wanted = Integral if hint is int else Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, str if origin is Literal else origin or hint)


def _words(hint: Any) -> str:
    plain = ((str if get_origin(m) is Literal else get_origin(m) or m) for m in members(hint))
    return " or ".join(_WORDS.get(kind, kind.__name__) for kind in plain)
