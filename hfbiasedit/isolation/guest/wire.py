"""Values as text that the other side rebuilds as plain objects of its own.

Nothing that crosses carries code or a class of the sender, so a value from the judged process
cannot compare equal to everything, raise on access or look at who holds it. Objects of classes
that both sides have from the problem's prompt cross as their attributes.

Everything is `[tag, part, ...]` in JSON, but for None, booleans, short integers, floats and text.
A mutable object that occurs again, also inside itself, is `["again", number]`.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from enum import Enum
from typing import Any

from . import errors, kinds, objects
from .iterators import drawing, drawn

_SMALL = 1 << 53
_VIEWS: dict[str, Any] = {
    "keys": type({}.keys()),
    "values": type({}.values()),
    "items": type({}.items()),
}
_FUNCTIONS = (type(json.dumps), type(len), type("".join), type(str.join), type("".__len__))


class CannotCross(TypeError):
    """The value has a type that is not passed between the processes."""


class Wire:
    """Encodes and decodes the values of one channel.

    Attributes:
        classes: classes that both sides have, by name.
    """

    def __init__(self, lend: Callable[[Any], int], borrow: Callable[[int], Any]) -> None:
        """`lend` stores a callable under a number, `borrow` calls the peer's of a number."""
        self.lend, self.borrow = lend, borrow
        self.classes: dict[str, type] = {}

    def dumps(self, value: Any) -> str:
        """Encode a value.

        Raises:
            CannotCross: it, or something in it, has a type that is not passed on.
        """
        try:
            return json.dumps(_Packing(self).pack(value))
        except RecursionError:
            raise CannotCross(
                "a value is nested too deeply to pass between program and tests"
            ) from None

    def loads(self, text: str) -> Any:
        """Decode what `dumps` made.

        Raises:
            ValueError: the text was not made by `dumps`.
        """
        try:
            return _Unpacking(self).unpack(json.loads(text))
        except Exception as error:  # also what a hash of the prompt's classes makes of nonsense
            raise ValueError("not a message") from error


class _Packing:
    """One value on its way out; remembers the mutable objects that it has seen."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._names = {kind: name for name, kind in wire.classes.items()}
        self._seen: dict[int, tuple[int, Any]] = {}  # keeps them alive: an id stays theirs

    def pack(self, value: Any) -> Any:
        if value is None or value is True or value is False:
            return value
        name = self._names.get(type(value))
        if name is not None:
            return self._own(name, value)
        if isinstance(value, int):
            number = int(value)
            return number if -_SMALL < number < _SMALL else ["int", format(number, "x")]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, objects.FILLED) and not isinstance(value, bytearray):
            return self._again(value) or self._filled(value)
        if isinstance(value, tuple) and hasattr(type(value), "_fields"):
            named: Any = type(value)
            return ["namedtuple", named.__name__, list(named._fields), self._items(tuple, value)]
        if isinstance(value, tuple | frozenset):
            frozen = tuple if isinstance(value, tuple) else frozenset
            return [frozen.__name__, self._items(frozen, value)]
        return self._rare(value)

    def _items(self, kind: Any, value: Any) -> list[Any]:
        return [self.pack(item) for item in kind.__iter__(value)]

    def _pairs(self, value: Any) -> list[Any]:
        return [[self.pack(k), self.pack(v)] for k, v in dict.items(value)]

    def _again(self, value: Any) -> list[Any] | None:
        if id(value) in self._seen:
            return ["again", self._seen[id(value)][0]]
        self._seen[id(value)] = len(self._seen), value
        return None

    def _filled(self, value: Any) -> list[Any]:
        if isinstance(value, defaultdict):
            return ["defaultdict", self.pack(value.default_factory), self._pairs(value)]
        for kind in (Counter, OrderedDict, dict):
            if isinstance(value, kind):
                return [kind.__name__, self._pairs(value)]
        if isinstance(value, deque):
            return ["deque", value.maxlen, self._items(deque, value)]
        plain = list if isinstance(value, list) else set
        return [plain.__name__, self._items(plain, value)]

    def _own(self, name: str, value: Any) -> list[Any]:
        """An object of a class that both sides have: what it is built on, and its attributes."""
        if isinstance(value, Enum):
            return ["member", name, self.pack(value.value)]
        if isinstance(value, BaseException):
            return ["error", *errors.take_apart(value, self._names, self._wire.dumps)]
        again = self._again(value)
        if again:
            return again
        content = None
        for base in (*objects.FILLED, *objects.FROZEN):
            if isinstance(value, base):
                content = self.pack(objects.plain(base, value))
        return ["object", name, content, self.pack(objects.attributes(value))]

    def _rare(self, value: Any) -> list[Any]:
        known = kinds.take_apart(value)
        if known is not None:
            return ["kind", known[0], [self.pack(part) for part in known[1]]]
        for name, view in _VIEWS.items():
            if isinstance(value, view):
                return [name, [self.pack(item) for item in list(value)]]
        if isinstance(value, BaseException):
            return ["error", *errors.take_apart(value, self._names, self._wire.dumps)]
        if isinstance(value, type):
            if value in self._names:
                return ["class", self._names[value]]
            if kinds.is_builtin(value):
                return ["builtin", value.__name__]
        elif hasattr(type(value), "__next__"):
            return ["iterator", self._wire.lend(drawing(value))]
        elif isinstance(value, _FUNCTIONS) or callable(value):
            return ["callable", self._wire.lend(value)]
        raise CannotCross(
            f"a value of type {type(value).__name__} cannot pass between program and tests"
        )


class _Unpacking:
    """One value on its way in; numbers mutable objects in the order in which they were seen."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._seen: list[Any] = []

    def unpack(self, packed: Any) -> Any:
        if not isinstance(packed, list):
            if isinstance(packed, dict):
                raise ValueError("not a message")
            return packed
        tag, *rest = packed
        return getattr(self, f"_{_TAGS[tag]}")(tag, *rest)

    def _items(self, packed: list[Any]) -> list[Any]:
        return [self.unpack(item) for item in packed]

    def _keep(self, value: Any) -> Any:
        self._seen.append(value)
        return value

    def _again(self, _: str, number: int) -> Any:
        return self._seen[number]

    def _int(self, _: str, digits: str) -> int:
        return int(digits, 16)

    def _list(self, _: str, items: list[Any]) -> list[Any]:
        made: list[Any] = self._keep([])
        made.extend(self._items(items))
        return made

    def _set(self, _: str, items: list[Any]) -> set[Any]:
        made: set[Any] = self._keep(set())
        made.update(self._items(items))
        return made

    def _deque(self, _: str, longest: int | None, items: list[Any]) -> deque[Any]:
        made: deque[Any] = self._keep(deque(maxlen=longest))
        made.extend(self._items(items))
        return made

    def _dict(self, tag: str, pairs: list[Any]) -> dict[Any, Any]:
        made = self._keep({"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}[tag]())
        return self._fill(made, pairs)

    def _defaultdict(self, _: str, factory: Any, pairs: list[Any]) -> dict[Any, Any]:
        made: defaultdict[Any, Any] = self._keep(defaultdict())
        made.default_factory = self.unpack(factory)
        return self._fill(made, pairs)

    def _fill(self, made: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
        for key, value in pairs:
            made[self.unpack(key)] = self.unpack(value)
        return made

    def _frozen(self, tag: str, items: list[Any]) -> Any:
        return (tuple if tag == "tuple" else frozenset)(self._items(items))

    def _namedtuple(self, _: str, name: str, fields: list[str], items: list[Any]) -> Any:
        kind: Any = namedtuple(name, fields)  # type: ignore[misc]
        return kind._make(self._items(items))

    def _view(self, tag: str, items: list[Any]) -> Any:
        found = self._items(items)
        if tag == "keys":
            return dict.fromkeys(found).keys()
        return dict(enumerate(found)).values() if tag == "values" else dict(found).items()

    def _kind(self, _: str, name: str, parts: list[Any]) -> Any:
        return kinds.build(name, self._items(parts))

    def _error(self, _: str, *parts: Any) -> BaseException:
        return errors.build(parts, self._wire.classes, self._wire.loads)

    def _class(self, _: str, name: str) -> type:
        return self._wire.classes[name]

    def _builtin(self, _: str, name: str) -> type:
        return kinds.builtin(name)

    def _callable(self, _: str, number: int) -> Any:
        return self._wire.borrow(int(number))

    def _iterator(self, _: str, number: int) -> Any:
        return drawn(self._wire.borrow(int(number)))

    def _member(self, _: str, name: str, value: Any) -> Any:
        return self._wire.classes[name](self.unpack(value))

    def _object(self, _: str, name: str, content: Any, attributes: Any) -> Any:
        kind: Any = self._wire.classes[name]
        frozen = next((base for base in objects.FROZEN if issubclass(kind, base)), None)
        if frozen is not None:
            place = len(self._seen)
            self._seen.append(None)
            made = self._seen[place] = frozen.__new__(kind, self.unpack(content))
        else:
            base: Any = next((base for base in objects.FILLED if issubclass(kind, base)), object)
            made = self._keep(base.__new__(kind))
            if content is not None:
                base.__init__(made, self.unpack(content))
        objects.set_attributes(made, self.unpack(attributes))
        return made


_TAGS = {
    **{name: name for name in ("again", "int", "list", "set", "deque", "dict", "defaultdict")},
    **{name: name for name in ("namedtuple", "kind", "error", "class", "builtin", "callable")},
    **{name: name for name in ("iterator", "member", "object")},
    **dict.fromkeys(("OrderedDict", "Counter"), "dict"),
    **dict.fromkeys(("tuple", "frozenset"), "frozen"),
    **dict.fromkeys(_VIEWS, "view"),
}
