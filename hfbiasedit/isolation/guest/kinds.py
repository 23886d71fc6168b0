"""Types of Python's library whose values cross: how each is taken apart and made again.

Modules that a program has not imported are not imported for it: starting up counts.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class _Kind(NamedTuple):
    """One type: module, name, the parts of a value, and a maker where it is not the type."""

    module: str
    name: str
    parts: Callable[[Any], tuple[Any, ...]]
    make: Callable[..., Any] | None = None


def _text(value: Any) -> tuple[Any, ...]:
    return (str(value),)


def _iso(value: Any) -> tuple[Any, ...]:
    return (value.isoformat(),)


def _from_iso(name: str) -> Callable[..., Any]:
    return lambda text: getattr(importlib.import_module("datetime"), name).fromisoformat(text)


def _bounds(value: Any) -> tuple[Any, ...]:
    return value.start, value.stop, value.step


_ADDRESSES = [f"IPv{n}{what}" for n in (4, 6) for what in ("Address", "Network", "Interface")]
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_KINDS = (
    _Kind("builtins", "complex", lambda v: (v.real, v.imag)),
    _Kind("builtins", "bytes", lambda v: (v.hex(),), bytes.fromhex),
    _Kind("builtins", "bytearray", lambda v: (v.hex(),), bytearray.fromhex),
    _Kind("builtins", "memoryview", lambda v: (v.tobytes(),)),
    _Kind("builtins", "range", _bounds),
    _Kind("builtins", "slice", _bounds),
    _Kind("builtins", "ellipsis", lambda _: (), lambda: Ellipsis),
    _Kind("builtins", "NotImplementedType", lambda _: (), lambda: NotImplemented),
    _Kind("decimal", "Decimal", _text),
    _Kind("fractions", "Fraction", lambda v: (v.numerator, v.denominator)),
    _Kind("datetime", "datetime", _iso, _from_iso("datetime")),
    _Kind("datetime", "date", _iso, _from_iso("date")),
    _Kind("datetime", "time", _iso, _from_iso("time")),
    _Kind("datetime", "timedelta", lambda v: (v.days, v.seconds, v.microseconds)),
    _Kind("datetime", "timezone", lambda v: (v.utcoffset(None),)),
    _Kind("uuid", "UUID", _text),
    _Kind("array", "array", lambda v: (v.typecode, v.tolist())),
    _Kind("re", "Pattern", lambda v: (v.pattern, v.flags), lambda *v: _re().compile(*v)),
    *(_Kind("pathlib", name, _text) for name in _PATHS),
    *(_Kind("ipaddress", name, _text) for name in _ADDRESSES),
)
_BY_NAME = {f"{kind.module}.{kind.name}": kind for kind in _KINDS}


def take_apart(value: Any) -> tuple[str, tuple[Any, ...]] | None:
    """Name and parts of a value of one of these types, else None."""
    for name, kind in _BY_NAME.items():
        if type(value) is _type(kind):
            return name, kind.parts(value)
    return None


def build(name: str, parts: list[Any]) -> Any:
    """The value of that name and those parts.

    Raises:
        Exception: any, where they make no such value.
    """
    kind = _BY_NAME[name]
    importlib.import_module(kind.module)
    make = kind.make or _type(kind)
    return make(*parts)


def is_builtin(value: type) -> bool:
    """Whether a class is one of those that every Python program sees."""
    return getattr(builtins, value.__name__, None) is value


def builtin(name: str) -> type:
    """The built-in class of a name.

    Raises:
        ValueError: there is none.
    """
    found = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise ValueError(name)
    return found


def _type(kind: _Kind) -> Any:
    if kind.name in ("ellipsis", "NotImplementedType"):
        return type(Ellipsis) if kind.name == "ellipsis" else type(NotImplemented)
    return getattr(sys.modules.get(kind.module), kind.name, None)


def _re() -> Any:
    return importlib.import_module("re")
