"""Values as text that the other side rebuilds as plain objects of its own.

Nothing that crosses carries code or a class of the sender, so a value from the judged process
cannot compare equal to everything, raise on access or look at who holds it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

_MOST_ITEMS = 100_000  # drawn from an iterator before it counts as endless
_SMALL = 1 << 53
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset)
_DATES = {kind.__name__: kind for kind in (datetime.datetime, datetime.date, datetime.time)}


class CannotCross(TypeError):
    """The value has a type that is not passed between the processes."""


def dumps(value: Any, keep: Callable[[Any], int]) -> bytes:
    """Encode a value; `keep` stores a callable and returns the number the peer calls it by."""
    return json.dumps(_pack(value, keep)).encode("ascii")


def loads(data: bytes, borrow: Callable[[int], Any]) -> Any:
    """Decode what `dumps` made; `borrow` makes a callable for a number of the peer.

    Raises:
        ValueError: the bytes were not made by `dumps`.
    """
    try:
        return _unpack(json.loads(data), borrow)
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError, ArithmeticError) as e:
        raise ValueError("not a message") from e


def _pack(value: Any, keep: Callable[[Any], int]) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        number = int(value)
        return number if -_SMALL < number < _SMALL else ["int", format(number, "x")]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, dict):
        return ["dict", [[_pack(k, keep), _pack(v, keep)] for k, v in dict.items(value)]]
    for kind in _SEQUENCES:
        if isinstance(value, kind):
            return [kind.__name__, [_pack(item, keep) for item in kind.__iter__(value)]]
    return _pack_rare(value, keep)


def _pack_rare(value: Any, keep: Callable[[Any], int]) -> Any:
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__, bytes(value).hex()]
    if isinstance(value, range):
        return ["range", *(_pack(n, keep) for n in (value.start, value.stop, value.step))]
    if isinstance(value, Decimal | Fraction):
        return [type(value).__name__, str(value)]
    if type(value) in _DATES.values():
        return [type(value).__name__, value.isoformat()]
    if hasattr(type(value), "__next__"):
        items: list[Any] = []
        for item in value:
            items.append(_pack(item, keep))
            if len(items) > _MOST_ITEMS:
                raise CannotCross("an iterator without end")
        return ["iterator", items]
    if isinstance(value, type(_MOST_ITEMS.bit_length) | type(len) | type(dumps)) or (
        callable(value) and not isinstance(value, type)
    ):
        return ["callable", keep(value)]
    if hasattr(type(value), "__iter__") and hasattr(type(value), "__len__"):
        return ["list", [_pack(item, keep) for item in value]]  # deque, dict views, array
    raise CannotCross(f"a value of type {type(value).__name__}")


def _unpack(packed: Any, borrow: Callable[[int], Any]) -> Any:
    if not isinstance(packed, list):
        if isinstance(packed, dict):
            raise ValueError("not a message")
        return packed
    tag, *rest = packed
    if tag == "dict":
        return {_unpack(k, borrow): _unpack(v, borrow) for k, v in rest[0]}
    if tag in ("list", "tuple", "set", "frozenset", "iterator"):
        items = [_unpack(item, borrow) for item in rest[0]]
        makers: dict[str, Callable[[list[Any]], Any]] = {
            "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter,
        }  # fmt: skip
        return makers[tag](items)
    return _unpack_rare(tag, rest, borrow)


def _unpack_rare(tag: str, rest: list[Any], borrow: Callable[[int], Any]) -> Any:
    if tag == "int":
        return int(rest[0], 16)
    if tag == "complex":
        return complex(float(rest[0]), float(rest[1]))
    if tag in ("bytes", "bytearray"):
        value = bytes.fromhex(rest[0])
        return value if tag == "bytes" else bytearray(value)
    if tag == "range":
        return range(*(_unpack(n, borrow) for n in rest))
    if tag == "Decimal":
        return Decimal(str(rest[0]))
    if tag == "Fraction":
        return Fraction(str(rest[0]))
    if tag in _DATES:
        return _DATES[tag].fromisoformat(rest[0])  # type: ignore[attr-defined]
    if tag == "callable":
        return borrow(int(rest[0]))
    raise ValueError("not a message")
