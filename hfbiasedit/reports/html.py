"""`report.html`: one file that needs nothing from outside, for one audit or for a run."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.documents import runs
from hfbiasedit.documents.movements import Movement, farthest, movements
from hfbiasedit.documents.names import FIGURES, model_name
from hfbiasedit.documents.public import public_documents
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.files import write_text
from hfbiasedit.reports import concerns, facts, prompts, scale, scatter, tables, verdict
from hfbiasedit.reports.environment import inlined, render

_TEMPLATE = "report.html.jinja"
_BREAKDOWNS = ("group", "surface", "language", "template", "polarity", "modifier", "split")


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
    documents = public_documents(documents)
    before, after, edit = documents.before, documents.after, documents.edit
    rows = _professions(before, after)
    ability = tables.ability(documents.ability)
    moves = [row.move for row in rows]
    templates = tables.unseen_templates(edit, before, after) if edit else []
    drawers = prompts.drawers(before, after)
    return {
        "title": model_name(before["model"]["id"]),
        **inlined("report.css", "report.js"),
        "before": before,
        "after": after,
        "edit": edit,
        "reference": before["dataset"]["reference"],
        "verdict": verdict.verdict(documents),
        "scale": scale.scale(documents),
        "difference": facts.difference(edit, before, after),
        "concerns": concerns.audit_concerns(before)
        if after is None
        else concerns.concerns(before, after, moves, documents.ability),
        "prompts": prompts.typical(before, after),
        "figures": _figures(documents, figures),
        "splits": tables.splits(edit) if edit else [],
        "templates": templates,
        "carried_over": tables.carried_over(templates),
        "edit_facts": facts.edit_facts(edit) if edit else [],
        "ability": ability,
        "ability_sides": any(row.after or row.change for row in ability),
        "professions": rows,
        "panels": scatter.panels(moves, edited=after is not None),
        "side": scatter.SIDE,
        "estimated": any(row.interval for row in rows),
        "drawers": [drawers.get(row.move.profession, []) for row in rows] if drawers else [],
        "has_groups": any(row.move.group for row in rows),
        "breakdowns": [
            (key, found)
            for key in _BREAKDOWNS
            if len(found := tables.breakdown(key, before, after)) > 1
        ],
        "method_facts": facts.method_facts(documents),
    }


@dataclass(frozen=True)
class ProfessionRow:
    """One row of the table; `estimate` and `interval` in points, of the last audit."""

    move: Movement
    estimate: float
    interval: list[float] | None


def _professions(before: Audit, after: Audit | None) -> list[ProfessionRow]:
    """One row per profession, the farthest from the reference first (see `farthest`)."""
    last = after or before
    moves = {row.profession: row for row in movements(before, last)}
    return [
        ProfessionRow(
            moves[row["profession"]],
            100 * row.get("estimate", row["fb"]),
            [100 * end for end in row["ci95"]] if "ci95" in row else None,
        )
        for row in farthest(last["professions"])
        if row["profession"] in moves
    ]


def _figures(documents: Documents, drawn: Mapping[str, bytes] | None) -> list[dict[str, str]]:
    """The figures of the page; it draws the shares itself."""
    if drawn is None:
        from hfbiasedit.figures.run import render_figures

        drawn = render_figures(documents)
    made = []
    for name, (title, caption) in FIGURES.items():
        if name in drawn and name != "shares":
            image = base64.b64encode(_for_dark(drawn[name])).decode("ascii")
            uri = "data:image/svg+xml;base64," + image
            made.append({"name": name, "title": title, "caption": caption, "uri": uri})
    return made


# What drawings are made of (see `figures.style`) -> what it is on a dark page.
_DARK = {
    "#222222": "#e8e8e8",
    "#e2e2e2": "#3a3d42",
    "#ffffff": "#16181c",
    "#0072b2": "#4da3db",
    "#d55e00": "#ff8a3d",
}


def _for_dark(svg: bytes) -> bytes:
    """A drawing that follows the reader's colour scheme: ink, grid and ground change places."""
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for kind in ("fill", "stroke")
        for light, dark in _DARK.items()
    )
    rule = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return svg.replace(b"<defs>", rule.encode() + b"<defs>", 1)
