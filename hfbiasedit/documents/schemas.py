"""Reading a document against its schema; the schemas as files.

After a change of a structure: `python -c "from hfbiasedit.documents.schemas import write_schemas as
w; w()"` writes the files anew (a test compares them with the structures).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar, cast

from hfbiasedit.documents.checking import first_fault
from hfbiasedit.documents.structure import Schema, schema_of
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.adapter_document import Adapter
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.comparison_document import ComparisonDocument
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.documents.structures.forecast_document import Forecast
from hfbiasedit.documents.structures.leaderboard_document import About, Leaderboard
from hfbiasedit.documents.structures.location_document import LocationDocument
from hfbiasedit.documents.structures.selection_document import SelectionDocument
from hfbiasedit.documents.structures.sweep_document import Sweep
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import read_json, write_json
from hfbiasedit.resources import data_path

# What `schema` in a document says, without its version, to its structure.
STRUCTURES: dict[str, Any] = {
    "about": About,
    "ability": Ability,
    "adapter": Adapter,
    "audit": Audit,
    "comparison": ComparisonDocument,
    "edit": Edit,
    "forecast": Forecast,
    "leaderboard": Leaderboard,
    "location": LocationDocument,
    "selection": SelectionDocument,
    "sweep": Sweep,
}
# Kind -> what such a document is called, and the command that makes one.
_CALLED = {
    "about": ("a note about a model (about.json)", "a text editor (docs/leaderboard.md shows one)"),
    "ability": ("a report on coding ability", "hfbiasedit ability MODEL"),
    "adapter": ("the document of an adapter", "hfbiasedit patch export PATCH"),
    "audit": ("an audit report", "hfbiasedit audit MODEL"),
    "comparison": ("a comparison", "hfbiasedit compare A B --json"),
    "edit": ("the document of an edit", "hfbiasedit edit MODEL"),
    "forecast": ("a forecast", "hfbiasedit edit MODEL --dry-run --json"),
    "leaderboard": ("a leaderboard", "hfbiasedit leaderboard A B --json"),
    "location": ("a location", "hfbiasedit locate MODEL --json"),
    "selection": ("a selection file", "hfbiasedit edit MODEL"),
    "sweep": ("the document of a sweep", "hfbiasedit sweep MODEL"),
}
FOLDER = "schemas"

D = TypeVar("D")


@functools.cache
def schema(kind: str) -> Schema:
    """The JSON Schema of a kind of document."""
    made = schema_of(STRUCTURES[kind])
    name = made["properties"]["schema"]["const"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **made}


def read_document(path: Path, structure: type[D]) -> D:
    """Read a document and check it.

    Raises:
        BiasEditError: the file is unreadable, another kind of document, of a version that this
            program does not know, or damaged; the message names the first wrong place.
    """
    return check_document(read_json(path), structure, path)


def check_document(document: Any, structure: type[D], path: Path | str) -> D:
    """The same for what has been read already; `path` is where it came from."""
    kind = next(name for name, known in STRUCTURES.items() if known is structure)
    known = schema(kind)["title"]
    found = document.get("schema") if isinstance(document, dict) else None
    called, command = _CALLED[kind]
    if not isinstance(found, str) or not found.startswith(f"hfbiasedit.{kind}/"):
        raise BiasEditError(f"{path} is not {called}; make one with: {command}")
    if found != known:
        raise BiasEditError(
            f"{path} is {called} of another version ({found}); this program reads {known}: "
            f"make it again with: {command}"
        )
    if fault := first_fault(schema(kind), document):
        raise BiasEditError(f"{path} is damaged: {fault}")
    return cast(D, document)


def write_schemas(folder: Path | None = None) -> None:
    """Write `<kind>.json` for every kind, into the package by default."""
    for kind in STRUCTURES:
        write_json((folder or data_path(FOLDER)) / f"{kind}.json", schema(kind))
