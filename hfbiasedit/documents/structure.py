"""From a typed structure (a TypedDict) to its JSON Schema.

The types are the one description of a document: the type checker reads them where a document is
made, the schemas that ship are generated from them, and reading checks against the same.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict

Schema = dict[str, Any]

_PLAIN: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


@dataclass(frozen=True)
class Mark:
    """What a type cannot say of a value; used as `Annotated[float, Mark(least=0)]`.

    Attributes:
        text: what the value is, for readers of the schema.
        least, most: of a number. pattern: a regular expression that a text must match.
        length: the number of a list's items. fewest: the least number of them.
    """

    text: str = ""
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    length: int | None = None
    fewest: int | None = None

    def keywords(self) -> Schema:
        """The keywords of JSON Schema."""
        words = {
            "minimum": self.least,
            "maximum": self.most,
            "pattern": self.pattern,
            "minItems": self.fewest if self.length is None else self.length,
            "maxItems": self.length,
            "description": self.text or None,
        }
        return {name: value for name, value in words.items() if value is not None}


def schema_of(structure: Any) -> Schema:
    """The JSON Schema of a type: plain types, lists, dicts by text, literals, unions, TypedDicts.

    Keys that a TypedDict does not name are allowed: a later version may add some.

    Raises:
        TypeError: a type that JSON has no word for.
    """
    if structure is Any:
        return {}
    if structure in _PLAIN:
        return {"type": _PLAIN[structure]}
    if is_typeddict(structure):
        return _object(structure)
    make = _MAKERS.get(get_origin(structure))
    if make is None:
        raise TypeError(f"{structure!r} has no JSON Schema")
    return make(get_args(structure))


def _object(structure: Any) -> Schema:
    hints = get_type_hints(structure, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    properties = {
        name: schema_of(get_args(hint)[0] if name in optional else hint)
        for name, hint in hints.items()
    }
    made: Schema = {
        "type": "object",
        "required": [name for name in hints if name not in optional],
        "properties": properties,
    }
    return made | ({"description": structure.__doc__} if structure.__doc__ else {})


def _annotated(arguments: tuple[Any, ...]) -> Schema:
    made = schema_of(arguments[0])
    for mark in arguments[1:]:
        made |= mark.keywords()
    return made


def _literal(values: tuple[Any, ...]) -> Schema:
    return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}


def _union(arguments: tuple[Any, ...]) -> Schema:
    return {"anyOf": [schema_of(argument) for argument in arguments]}


_MAKERS: dict[Any, Callable[[tuple[Any, ...]], Schema]] = {
    Annotated: _annotated,
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    list: lambda arguments: {"type": "array", "items": schema_of(arguments[0])},
    dict: lambda arguments: {"type": "object", "additionalProperties": schema_of(arguments[1])},
}
