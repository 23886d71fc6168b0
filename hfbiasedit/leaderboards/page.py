"""`index.html`: the leaderboard as one page that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hfbiasedit.documents.structures.leaderboard_document import BoardRow, Leaderboard
from hfbiasedit.leaderboards.scatter import scatters
from hfbiasedit.reports.environment import inlined, render

_TEMPLATE, _STYLE, _SCRIPT = (f"leaderboard.{end}" for end in ("html.jinja", "css", "js"))
_SHADES = 8  # colours of cells, from the smallest score of a table to the largest


def render_page(board: Leaderboard) -> str:
    """The page as text. Everything from audits is escaped, and a content security policy allows
    only the page's own script and style (by hash)."""
    rows = board["rows"]
    ranked = [row for row in rows if row["reason"] is None]
    worst = max(max(row["ci95"][1] for row in ranked), board["baselines"]["even"])
    context: dict[str, Any] = {
        "board": board,
        **inlined(_STYLE, _SCRIPT),
        "ranked": ranked,
        "apart": [row for row in rows if row["reason"] is not None],
        "scale": min(100.0, 1.05 * worst),
        "scatters": scatters(ranked),
        "breakdowns": [
            ("groups", "By group of occupations", _cells(ranked, "by_group")),
            ("surfaces", "By surface of code", _cells(ranked, "by_surface")),
        ],
        "has_bits": any(row["ability"]["bits_per_byte"] is not None for row in ranked),
        "has_pass": any(row["ability"]["pass_at_1"] is not None for row in ranked),
        "has_change": any(row["change"] is not None for row in ranked),
    }
    return render(None, _TEMPLATE, context, html=True)


def _cells(rows: Sequence[BoardRow], key: Literal["by_group", "by_surface"]) -> dict[str, Any]:
    """Columns (name, prompts) and a line of cells per model, each with its shade or nothing."""
    columns = {part["name"]: part["prompts"] for row in rows for part in row[key]}
    scores = [part["fb_score"] for row in rows for part in row[key]]
    low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)

    def shade(value: float) -> int:
        return min(_SHADES - 1, int(_SHADES * (value - low) / (high - low))) if high > low else 0

    lines = []
    for row in rows:
        known = {part["name"]: part for part in row[key]}
        cells = [
            {"part": part, "shade": shade(part["fb_score"])} if (part := known.get(name)) else None
            for name in columns
        ]
        lines.append({"row": row, "cells": cells})
    return {"columns": list(columns.items()), "lines": lines}
