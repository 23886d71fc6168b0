"""The documents that reports, cards, figures and comparisons are made from.

A *report file* is what `hfbiasedit audit --json` prints. A directory holds one of them (made
by `audit --out`) or two with an edit between them (a run directory).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.documents import runs
from hfbiasedit.documents.mixture import check_audited, check_run
from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.errors import BiasEditError

AUDIT = "audit.json"


@dataclass(frozen=True)
class Documents:
    """What a directory holds: `before` is the only audit where nothing was edited."""

    directory: Path
    before: Audit
    after: Audit | None = None
    edit: Edit | None = None
    ability: Ability | None = None

    @property
    def audits(self) -> list[tuple[str, Audit]]:
        """The audits with their titles, in order."""
        if self.after is None:
            return [("", self.before)]
        return [("before", self.before), ("after", self.after)]


def read_audit(path: Path) -> Audit:
    """Read one audit report; errors as for `read_document`."""
    return read_document(path, Audit)


def open_documents(directory: Path | str) -> Documents:
    """Read the audits of a directory, with edit and ability where they are.

    Raises:
        BiasEditError: it is no directory, holds neither a run nor an audit, or its documents are
            damaged or do not belong together.
    """
    directory = Path(directory)
    if (directory / runs.AUDIT_BEFORE).is_file():
        run = runs.Run.open(directory)
        before, after, edit, ability = run.audit_before, run.audit_after, run.edit, run.ability
        check_run(directory, before, after, edit, ability)
        return Documents(directory, before, after, edit, ability)
    if not (directory / AUDIT).is_file():
        raise BiasEditError(
            f"{directory} holds neither a run nor an audit ({AUDIT}); "
            "make one with: hfbiasedit audit MODEL --out DIR"
        )
    audit, path = read_audit(directory / AUDIT), directory / runs.ABILITY
    ability = read_document(path, Ability) if path.is_file() else None
    check_audited(directory, audit, ability)
    return Documents(directory, audit, ability=ability)
