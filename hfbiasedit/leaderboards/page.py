"""`index.html`: the leaderboard as one page that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.structures.leaderboard_document import BoardPart, BoardRow, Leaderboard
from hfbiasedit.documents.thresholds import FEW_IN_CELL
from hfbiasedit.leaderboards.naming import shown_name
from hfbiasedit.leaderboards.scatter import scatters
from hfbiasedit.leaderboards.table import Part
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
        "shown_name": shown_name,
        "verdict": _verdict(ranked, board["baselines"]["even"]),
        "ranked": ranked,
        "apart": [row for row in rows if row["reason"] is not None],
        "notes": list(dict.fromkeys(row["note"] for row in rows if row["note"])),
        "scale": min(100.0, 1.05 * worst),
        "scatters": scatters(ranked, board["baselines"]["even"]),
        "breakdowns": [
            ("groups", "By group of occupations", _parts(ranked, "by_group")),
            ("surfaces", "By surface of code", _parts(ranked, "by_surface")),
            ("languages", "By language", _parts(ranked, "by_language")),
        ],
        "few": FEW_IN_CELL,
        "has_bits": any(row["ability"]["bits_per_byte"] is not None for row in ranked),
        "has_pass": any(row["ability"]["pass_at_1"] is not None for row in ranked),
        "has_change": any(row["change"] is not None for row in ranked),
        "has_edited": any(row["patch"] is not None for row in ranked),
    }
    return render(None, _TEMPLATE, context, html=True)


def _verdict(ranked: Sequence[BoardRow], even: float) -> str:
    """The answer in one sentence: who is closest, and who is closer than a coin."""
    first = ranked[0]
    ahead = first["ahead"]
    sure = "" if ahead is None or ahead["clear"] else ", not clearly ahead of the next"
    closer = sum(row["coin"]["clear"] and row["coin"]["difference"] < 0 for row in ranked)
    clear = f"{closer or 'None'} of {len(ranked)} {'is' if closer == 1 else 'are'} clearly closer"
    return (
        f"{shown_name(first)} is closest to the reference: {text.score(first['fb_score'])} points "
        f"away{sure}. {clear} than a coin, which scores {text.score(even)}."
    )


@dataclass(frozen=True)
class Cell:
    """A score in a table of parts; `shade` is None where few prompts are behind it."""

    part: BoardPart
    shade: int | None


@dataclass(frozen=True)
class PartTable:
    """Columns (name, prompts), most prompts first, and the cells of each model."""

    columns: list[tuple[str, int]]
    lines: list[tuple[BoardRow, list[Cell | None]]]


def _parts(rows: Sequence[BoardRow], key: Part) -> PartTable:
    columns = {part["name"]: part["prompts"] for row in rows for part in row[key]}
    order = sorted(columns.items(), key=lambda column: (-column[1], column[0]))
    known = [part for row in rows for part in row[key] if part["prompts"] >= FEW_IN_CELL]
    scores = [part["fb_score"] for part in known]
    low, high = (min(scores), max(scores)) if scores else (0.0, 0.0)

    def cell(part: BoardPart | None) -> Cell | None:
        if part is None:
            return None
        share = (part["fb_score"] - low) / (high - low) if high > low else 0.0
        few = part["prompts"] < FEW_IN_CELL
        return Cell(part, None if few else min(_SHADES - 1, int(_SHADES * share)))

    lines = []
    for row in rows:
        found = {part["name"]: part for part in row[key]}
        lines.append((row, [cell(found.get(name)) for name, _ in order]))
    return PartTable(order, lines)
