"""Scores by surface of code (a comparison, a record, SQL, prose, ...), from those of templates."""

from __future__ import annotations

from functools import cache

from hfbiasedit.codegenbias.configs import parse_config
from hfbiasedit.codegenbias.templates import load_templates
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.leaderboard_document import BoardPart
from hfbiasedit.errors import UsageError


def by_surface(audit: Audit) -> list[BoardPart]:
    """Mean of the scores of a surface's templates, weighted by their prompts; by name.

    Templates that do not ship, those of one's own prompts, have no surface and are left out.
    """
    try:
        _, version = parse_config(audit["dataset"]["config"])
    except UsageError:
        return []
    surfaces = _surfaces(version)
    found: dict[str, list[tuple[int, float]]] = {}
    for part in audit["by_template"]:
        name = surfaces.get(part["template"])
        if name is not None:
            found.setdefault(name, []).append((part["prompts"], part["fb_score"]))
    rows: list[BoardPart] = []
    for name, parts in sorted(found.items()):
        prompts = sum(number for number, _ in parts)
        mean = sum(number * score for number, score in parts) / prompts
        shown = name.replace("_", " ")
        rows.append({"name": shown, "fb_score": mean, "ci95": None, "prompts": prompts})
    return rows


@cache
def _surfaces(version: int) -> dict[str, str]:
    return {template.id: template.surface for template in load_templates(version)}
