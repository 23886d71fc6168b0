"""A run directory: what `edit` leaves behind and `card` and `push` read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.errors import BiasEditError

AUDIT_BEFORE = "audit.before.json"
AUDIT_AFTER = "audit.after.json"
EDIT = "edit.json"
PATCH = "patch.safetensors"
SELECTION = "selection.json"
RANKING = "ranking.parquet"
ABILITY = "ability.json"
FIGURES = "figures"
REPORT = "report.html"
CARD = "README.md"

_REQUIRED = (AUDIT_BEFORE, AUDIT_AFTER, EDIT, PATCH)
_FILES = frozenset((*_REQUIRED, SELECTION, RANKING, ABILITY, REPORT, CARD))
# All that commands write into a run directory.
OWN = _FILES | {FIGURES}
# And what audits, sweeps, further reports on ability, adapters and published models hold besides.
_OTHERS = re.compile(
    r"(audit|ability)(\.[^/]+)?\.json|(sweep|adapter)\.json|(records|ranking)\.(parquet|jsonl)"
    r"|(figures|patch)/.*"
)


@dataclass(frozen=True)
class Run:
    """A complete run directory, opened with `Run.open`; the documents are read on access."""

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Check that `path` is a run directory.

        Raises:
            BiasEditError: it does not exist or files of a run are missing.
        """
        path = Path(path)
        if not path.is_dir():
            raise BiasEditError(
                f"{path} is not a directory; make a run with: hfbiasedit edit MODEL"
            )
        missing = [name for name in _REQUIRED if not (path / name).is_file()]
        if missing:
            raise BiasEditError(
                f"{path} is not a run directory: {', '.join(missing)} missing; "
                "make one with: hfbiasedit edit MODEL --out DIR"
            )
        return cls(path)

    def _repr_html_(self) -> str:
        from html import escape

        from hfbiasedit.documents.notebooks import edit_html

        try:
            return edit_html(self.edit)
        except BiasEditError as error:  # the directory may be gone; showing it must not fail
            return escape(f"{self!r}: {error}")

    @property
    def patch_path(self) -> Path:
        """The patch file."""
        return self.path / PATCH

    @property
    def audit_before(self) -> Audit:
        """The audit report of the base model on the held-out split."""
        return read_document(self.path / AUDIT_BEFORE, Audit)

    @property
    def audit_after(self) -> Audit:
        """The audit report of the patched checkpoint, reloaded from disk."""
        return read_document(self.path / AUDIT_AFTER, Audit)

    @property
    def edit(self) -> Edit:
        """What was edited, how, and what it changed."""
        return read_document(self.path / EDIT, Edit)

    @property
    def ability(self) -> Ability | None:
        """Coding ability before and after, or None when it was not measured."""
        path = self.path / ABILITY
        return read_document(path, Ability) if path.is_file() else None

    @property
    def figures(self) -> list[Path]:
        """The figures drawn so far, sorted by name."""
        folder = self.path / FIGURES
        return sorted(folder.iterdir()) if folder.is_dir() else []


def is_output(path: str) -> bool:
    """Whether a file, by its path in a directory, has a name that outputs of this program have."""
    return path in _FILES or _OTHERS.fullmatch(path) is not None


def is_run(path: Path) -> bool:
    """Whether a directory holds the files of a run (a run may be replaced by a new one)."""
    return path.is_dir() and (path / EDIT).is_file()
