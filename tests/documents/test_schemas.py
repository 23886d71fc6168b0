"""Schemas against an independent validator, on documents as they are and damaged at random."""

from __future__ import annotations

import copy
import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import NotRequired, TypedDict

from hfbiasedit.documents.checking import first_fault
from hfbiasedit.documents.schemas import FOLDER, STRUCTURES, schema, write_schemas
from hfbiasedit.documents.structure import Mark, schema_of
from hfbiasedit.resources import data_path
from tests.reports import fixtures

MADE = fixtures.documents(12)
DOCUMENTS = {"audit": MADE["after"], "edit": MADE["edit"], "ability": MADE["ability"]}


def validator(kind):
    return jsonschema.Draft202012Validator(schema(kind))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_the_shipped_schemas_are_those_of_the_structures(kind, tmp_path):
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    write_schemas(tmp_path)
    shipped = data_path(FOLDER, f"{kind}.json")
    assert shipped.read_bytes() == (tmp_path / shipped.name).read_bytes(), "see schemas.py"
    assert {path.stem for path in data_path(FOLDER).iterdir()} == set(STRUCTURES)


class Inner(TypedDict):
    """Some inner thing."""

    count: Annotated[int, Mark("how many", least=1)]


class Outer(TypedDict):
    schema: Literal["x/1"]
    pair: Annotated[list[float], Mark(length=2)]
    inner: NotRequired[Inner]
    named: dict[str, str | None]
    free: Any


def test_a_type_becomes_its_schema():
    inner = {
        "type": "object",
        "required": ["count"],
        "properties": {"count": {"type": "integer", "minimum": 1, "description": "how many"}},
        "description": "Some inner thing.",
    }
    assert schema_of(Outer) == {
        "type": "object",
        "required": ["schema", "pair", "named", "free"],
        "properties": {
            "schema": {"const": "x/1"},
            "pair": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            "inner": inner,
            "named": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "free": {},
        },
    }
    with pytest.raises(TypeError, match="no JSON Schema"):
        schema_of(set[int])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pair": [1]}, "pair should be 2 items and is '1'"),
        ({"pair": [1, True]}, "pair[1] should be a number and is True"),
        ({"inner": {}}, "inner.count is missing"),
        ({"inner": {"count": 0}}, "inner.count should be at least 1 and is 0"),
        ({"inner": {"count": 1.5}}, "inner.count should be a whole number and is 1.5"),
        ({"inner": []}, "inner should be an object and is a list"),
        ({"named": {"a b": 3}}, "named.'a b' should be text or null and is 3"),
        ({"schema": "x/2"}, "schema should be 'x/1' and is 'x/2'"),
        ({"more": 1, "free": None, "named": {"a": None}}, None),
    ],
)
def test_faults_in_words(change, words):
    document = {"schema": "x/1", "pair": [1, 2.5], "named": {}, "free": []}
    assert first_fault(schema_of(Outer), document) is None
    assert first_fault(schema_of(Outer), document | change) == words


def places(value, path=()):
    """Every place in a document, as a path of keys."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:3]
    for key, inner in items:
        yield from places(inner, (*path, key))


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 200), st.floats(-3, 200), st.text(max_size=4),
    st.just([]), st.just({}), st.just([1.0, 2.0]), st.just("0" * 64), st.just("0" * 40),
)  # fmt: skip


@pytest.mark.parametrize("kind", DOCUMENTS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_found_exactly_where_a_validator_finds_it(kind, data):
    document = copy.deepcopy(DOCUMENTS[kind])
    *path, last = data.draw(st.sampled_from([place for place in places(document) if place]))
    inner = document
    for key in path:
        inner = inner[key]
    if data.draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = data.draw(JUNK)
    fault = first_fault(schema(kind), document)
    assert (fault is None) == validator(kind).is_valid(document)
    if fault is not None:
        assert "\n" not in fault
        assert str((*path, last)[0]) in fault


@settings(deadline=None)
@given(value=st.recursive(JUNK, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_anything_else_is_a_fault_and_no_crash(value):
    assert first_fault(schema("edit"), value)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_documents_of_the_tests_are_sound(kind):
    assert first_fault(schema(kind), json.loads(json.dumps(DOCUMENTS[kind]))) is None
