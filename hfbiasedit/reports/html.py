"""`report.html`: one file that needs nothing from outside, for one audit or for a run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfbiasedit.documents import runs
from hfbiasedit.documents.movements import Movement, movements
from hfbiasedit.documents.names import FIGURES, model_name
from hfbiasedit.documents.public import public_documents
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.files import write_text
from hfbiasedit.reports import facts, tables
from hfbiasedit.reports.environment import render
from hfbiasedit.resources import template_path

_TEMPLATE = "report.html.jinja"
_BREAKDOWNS = ("polarity", "split", "group", "template", "modifier")


def write_report(directory: Path, *, figures: Sequence[Path] | None = None) -> Path:
    """Write `report.html` into a run directory or the output of an audit; returns its path.

    Args:
        directory: A run directory or the output of `audit --out`.
        figures: What `write_figures` has just written there, to save drawing it twice.

    Raises:
        BiasEditError: the directory holds neither a run nor an audit.
    """
    path = Path(directory) / runs.REPORT
    drawn = None
    if figures is not None:
        drawn = {file.stem: file.read_bytes() for file in figures if file.suffix == ".svg"}
    write_text(path, render_report(open_documents(directory), drawn))
    return path


def render_report(documents: Documents, figures: Mapping[str, bytes] | None = None) -> str:
    """The page as text. Values from the documents are escaped, and a content security policy
    allows only the page's own script and style (by hash) and inlined images."""
    return render(None, _TEMPLATE, _context(documents, figures), html=True)


def _context(documents: Documents, figures: Mapping[str, bytes] | None) -> dict[str, Any]:
    from markupsafe import Markup

    documents = public_documents(documents)
    before, after, edit = documents.before, documents.after, documents.edit
    style, script = (template_path(name).read_text("utf-8") for name in ("report.css", "report.js"))
    rows = _professions(before, after)
    ability = tables.ability(documents.ability)
    return {
        "title": model_name(before["model"]["id"]),
        "style": Markup(style),  # noqa: S704 - our own file
        "style_hash": _source_hash(style),
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": _source_hash(script),
        "before": before,
        "after": after,
        "edit": edit,
        "reference": before["dataset"]["reference"],
        "difference": facts.difference(edit, before, after),
        "baselines": facts.baselines(before),
        "warnings": facts.warnings(documents),
        "figures": _figures(documents, figures),
        "splits": tables.splits(edit) if edit else [],
        "edit_facts": facts.edit_facts(edit) if edit else [],
        "ability": ability,
        "ability_sides": any(row.after or row.change for row in ability),
        "professions": rows,
        "has_groups": any(row.group for row in rows),
        "breakdowns": [
            (key, found)
            for key in _BREAKDOWNS
            if len(found := tables.breakdown(key, before, after)) > 1
        ],
        "method_facts": facts.method_facts(documents),
    }


def _professions(before: Audit, after: Audit | None) -> list[Movement]:
    """One row per profession, the farthest from the reference first."""
    rows = movements(before, after or before)
    return sorted(rows, key=lambda row: (-row.fb_after, row.profession))


def _figures(documents: Documents, drawn: Mapping[str, bytes] | None) -> list[dict[str, str]]:
    if drawn is None:
        from hfbiasedit.figures.run import render_figures

        drawn = render_figures(documents)
    made = []
    for name, (title, caption) in FIGURES.items():
        if name in drawn:
            uri = "data:image/svg+xml;base64," + base64.b64encode(drawn[name]).decode("ascii")
            made.append({"name": name, "title": title, "caption": caption, "uri": uri})
    return made


def _source_hash(text: str) -> str:
    """The hash by which a content security policy allows one inline script or style."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
