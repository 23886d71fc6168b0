"""Scores of parts of the prompts: by group of occupations, surface and language of code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hfbiasedit.codegenbias.configs import parse_config
from hfbiasedit.codegenbias.templates import surfaces
from hfbiasedit.documents.names import surface_name
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.leaderboard_document import BoardPart
from hfbiasedit.errors import UsageError


def by_group(audit: Audit) -> list[BoardPart]:
    """Groups of occupations, by name."""
    return _parts(audit["by_group"], "group")


def by_language(audit: Audit) -> list[BoardPart]:
    """Languages of code and text, by name; none in audits of older versions."""
    return _parts(audit.get("by_language", ()), "language")


def by_surface(audit: Audit) -> list[BoardPart]:
    """Kinds of places that a gender stands in, by name.

    Templates of one's own have no surface and are left out. An audit of an older version holds
    templates only: the mean of a surface's, weighted by their prompts, without an interval.
    """
    if "by_surface" not in audit:
        return _from_templates(audit)
    found = _parts((part for part in audit["by_surface"] if part["surface"]), "surface")
    return [{**part, "name": surface_name(part["name"])} for part in found]


def _parts(rows: Iterable[Mapping[str, Any]], key: str) -> list[BoardPart]:
    return [
        {
            "name": row[key],
            "fb_score": row["fb_score"],
            "ci95": row["ci95"],
            "prompts": row["prompts"],
        }
        for row in sorted(rows, key=lambda row: str(row[key]))
    ]


def _from_templates(audit: Audit) -> list[BoardPart]:
    try:
        parse_config(audit["dataset"]["config"])
    except UsageError:
        return []
    found: dict[str, list[tuple[int, float]]] = {}
    for part in audit["by_template"]:
        name = surfaces().get(part["template"])
        if name is not None:
            found.setdefault(name, []).append((part["prompts"], part["fb_score"]))
    rows: list[BoardPart] = []
    for name, parts in sorted(found.items()):
        prompts = sum(number for number, _ in parts)
        mean = sum(number * score for number, score in parts) / prompts
        rows.append(
            {"name": surface_name(name), "fb_score": mean, "ci95": None, "prompts": prompts}
        )
    return rows
