"""Whether a document has the structure it should have; the first place where it has not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from hfbiasedit.documents.structure import Schema

_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def first_fault(schema: Schema, value: Any, place: str = "") -> str | None:
    """The first place where `value` is not what `schema` says, in words; None where it fits.

    Knows the keywords that `structure.schema_of` writes, no others. Stricter than JSON Schema in
    one point: a number that is not finite is no number.
    """
    if "anyOf" in schema:
        return _none_of(schema["anyOf"], value, place)
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        wanted = " or ".join(repr(choice) for choice in allowed)
        return None if value in allowed else _fault(place, wanted, value)
    kind = schema.get("type")
    if kind is None:
        return None
    if not _is(kind, value):
        return _fault(place, _WORDS[kind], value)
    return next(_inside(schema, value, place), None)


def _none_of(choices: list[Schema], value: Any, place: str) -> str | None:
    """The fault of the choice that the value's type points to, where one does."""
    faults = [first_fault(choice, value, place) for choice in choices]
    if None in faults:
        return None
    for choice, fault in zip(choices, faults, strict=True):
        if _is(choice.get("type", ""), value):
            return fault
    wanted = " or ".join(_WORDS.get(choice.get("type", ""), "another value") for choice in choices)
    return _fault(place, wanted, value)


def _inside(schema: Schema, value: Any, place: str) -> Iterator[str]:
    """Faults of a value that has the right type."""
    if isinstance(value, dict):
        yield from _members(schema, value, place)
    elif isinstance(value, list):
        few, many = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        if not few <= len(value) <= many:
            wanted = f"{few} items" if few == many else f"at least {few} items"
            yield _fault(place, wanted, f"{len(value)}")
        for number, item in enumerate(value):
            if fault := first_fault(schema["items"], item, f"{place}[{number}]"):
                yield fault
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield _fault(place, f"text such as {schema['pattern']}", value)
    elif not isinstance(value, bool) and value is not None:
        if value < schema.get("minimum", value):
            yield _fault(place, f"at least {schema['minimum']:g}", value)
        if value > schema.get("maximum", value):
            yield _fault(place, f"at most {schema['maximum']:g}", value)


def _members(schema: Schema, value: dict[str, Any], place: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_inner(place, name)} is missing"
    other = schema.get("additionalProperties")
    for name, item in value.items():
        inner = known.get(name, other)
        if inner is not None and (fault := first_fault(inner, item, _inner(place, name))):
            yield fault


def _inner(place: str, name: str) -> str:
    shown = name if re.fullmatch(r"[\w@+-]+", name) else repr(name)
    return f"{place}.{shown}" if place else shown


def _fault(place: str, wanted: str, value: Any) -> str:
    found = _WORDS["object"] if isinstance(value, dict) else repr(value)
    found = _WORDS["array"] if isinstance(value, list) else found
    found = found if len(found) <= 40 else found[:37] + "..."
    return f"{place or 'the whole'} should be {wanted} and is {found}"


def _is(kind: str, value: Any) -> bool:
    """Whether a value that came from JSON has a type of JSON Schema."""
    if kind in ("integer", "number"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and (kind == "number" or value == int(value))
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return kind in types and isinstance(value, types[kind])
