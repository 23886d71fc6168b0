"""The documents that reports, cards, figures and comparisons are made from.

A *report file* is what `hfbiasedit audit --json` prints. A directory holds one of them (made
by `audit --out`) or two with an edit between them (a run directory).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.documents import runs
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import read_json

Document = dict[str, Any]

AUDIT = "audit.json"
AUDIT_SCHEMA = "hfbiasedit.audit/1"
_REQUIRED = ("model", "dataset", "fb_score", "ci95", "professions")


@dataclass(frozen=True)
class Documents:
    """What a directory holds: `before` is the only audit where nothing was edited."""

    directory: Path
    before: Document
    after: Document | None = None
    edit: Document | None = None
    ability: Document | None = None

    @property
    def audits(self) -> list[tuple[str, Document]]:
        """The audits with their titles, in order."""
        if self.after is None:
            return [("", self.before)]
        return [("before", self.before), ("after", self.after)]


def read_audit(path: Path) -> Document:
    """Read one audit report.

    Raises:
        BiasEditError: the file is unreadable, no audit report, or of a version that this
            program does not know.
    """
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith("hfbiasedit.audit/"):
        raise BiasEditError(f"{path} is not an audit report; make one with: hfbiasedit audit MODEL")
    if schema != AUDIT_SCHEMA:
        raise BiasEditError(
            f"{path} is a report of another version ({schema}); this program reads "
            f"{AUDIT_SCHEMA}: audit again"
        )
    missing = [key for key in _REQUIRED if key not in document]
    if missing:
        raise BiasEditError(f"{path} is not a complete audit report: {', '.join(missing)} missing")
    return document


def open_documents(directory: Path | str) -> Documents:
    """Read the audits of a directory, with edit and ability where they are.

    Raises:
        BiasEditError: it is no directory, or holds neither a run nor an audit.
    """
    directory = Path(directory)
    if (directory / runs.AUDIT_BEFORE).is_file():
        run = runs.Run.open(directory)
        return Documents(
            directory,
            read_audit(directory / runs.AUDIT_BEFORE),
            read_audit(directory / runs.AUDIT_AFTER),
            run.edit,
            run.ability,
        )
    if not (directory / AUDIT).is_file():
        raise BiasEditError(
            f"{directory} holds neither a run nor an audit ({AUDIT}); "
            "make one with: hfbiasedit audit MODEL --out DIR"
        )
    ability = directory / runs.ABILITY
    return Documents(
        directory,
        read_audit(directory / AUDIT),
        ability=read_json(ability) if ability.is_file() else None,
    )
