"""A location and a sweep in words: documents for programs, tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hfbiasedit.documents.structures.location_document import (
    BlockScore,
    LocationDocument,
    MatrixScore,
    RowScore,
)
from hfbiasedit.documents.structures.sweep_document import Sweep

if TYPE_CHECKING:
    from rich.table import Table

    from hfbiasedit.editing.locating.locator import Location


def location_document(found: Location, top: int) -> LocationDocument:
    """The top of a ranking as plain JSON values; scores are sums over the weights of the item."""
    ranking = found.ranking
    blocks = ranking.block_scores()
    return {
        "schema": "hfbiasedit.location/1",
        "saliency": ranking.saliency,
        "seconds": found.seconds,
        "blocks": [
            {"block": number, "score": score, "may_be_edited": number in found.blocks}
            for number, score in enumerate(blocks)
        ],
        "matrices": [
            {"tensor": item.name, "block": item.block, "module": item.role, "score": score}
            for item, score in ranking.matrices()
        ],
        "rows": [
            {
                "tensor": item.name,
                "block": item.block,
                "module": item.role,
                "part": item.part_of(row),
                "row": row,
                "score": score,
            }
            for item, row, score in ranking.top_rows(top)
        ],
    }


def location_tables(document: LocationDocument) -> list[Table]:
    """Blocks, matrices and rows, highest first."""
    total = sum(row["score"] for row in document["blocks"]) or 1.0

    def share(row: BlockScore | MatrixScore | RowScore) -> str:
        return f"{100 * row['score'] / total:.2f} %"

    blocks = sorted(document["blocks"], key=lambda row: -row["score"])
    count = len(document["rows"])
    return [
        _table(
            f"blocks by {document['saliency']} saliency",
            ("block", "share", "may be edited"),
            [(row["block"], share(row), "yes" if row["may_be_edited"] else "") for row in blocks],
        ),
        _table(
            "matrices",
            ("block", "module", "share", "tensor"),
            [
                (row["block"], row["module"], share(row), row["tensor"])
                for row in document["matrices"][:count]
            ],
        ),
        _table(
            "rows",
            ("block", "module", "part", "row", "share", "tensor"),
            [
                (row["block"], row["module"], row["part"], row["row"], share(row), row["tensor"])
                for row in document["rows"]
            ],
        ),
    ]


def sweep_table(document: Sweep) -> Table:
    """The trade-off: one line per edit."""
    names = ["edit", "edited weights", "share"]
    splits = ("test_modifiers", "test_templates", "test_professions")
    names += [name.replace("test_", "unseen ") for name in splits]
    names += ["KL", "perplexity", "seconds", "patch"]
    lines = []
    for row in document["attempts"]:
        cells = [row["name"], f"{row['weights']:,}", f"{100 * row['share']:.3g} %"]
        found = [row["splits"].get(name) for name in splits]
        cells += [_percent(split["relative_change"] if split else None) for split in found]
        cells += [f"{row['kl']['mean']:.2g}", _percent(row["perplexity_change"], 2)]
        cells += [f"{row['seconds']:.1f}", f"{row['patch_bytes'] / 1024:.0f} KiB"]
        lines.append(cells)
    return _table(f"{document['model']['id']}: what each granularity buys", names, lines)


def _percent(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{100 * value:+.{digits}f} %"


def _table(title: str, names: Sequence[str], lines: Sequence[Sequence[Any]]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None)
    words = {"module", "part", "tensor", "edit", "may be edited"}
    for name in names:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    for line in lines:
        table.add_row(*[str(cell) for cell in line])
    return table
