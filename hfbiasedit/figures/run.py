"""Draw every figure that the documents of a directory allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.documents import runs
from hfbiasedit.documents.movements import movements
from hfbiasedit.documents.names import split_name
from hfbiasedit.documents.reading import Documents, edited_weights, open_documents
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.figures import (
    arrows,
    budgets,
    carryover,
    heatmap,
    histogram,
    shares,
    style,
    weights,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(directory: Path) -> list[Path]:
    """Draw into `directory/figures/` as PNG and SVG and return the paths, sorted.

    `directory` is a run or the output of an audit. A figure whose numbers are not there
    (one audit has no arrows) is left out.

    Raises:
        BiasEditError: the directory holds neither a run nor an audit.
    """
    documents = open_documents(directory)
    folder = Path(directory) / runs.FIGURES
    paths: list[Path] = []
    with style.settings():
        for name, draw in FIGURES.items():
            figure = draw(documents)
            if figure is not None:
                paths += style.save(figure, folder / name)
    return sorted(paths)


def render_figures(documents: Documents) -> dict[str, bytes]:
    """The same figures as SVG in memory, by name, for pages that carry them inside."""
    with style.settings():
        drawn = ((name, draw(documents)) for name, draw in FIGURES.items())
        return {name: style.render(figure, "svg") for name, figure in drawn if figure is not None}


def _shares(documents: Documents) -> Figure | None:
    panels = [
        (
            title,
            [
                shares.Point(row["profession"], row["share_female"], row["model_share"])
                for row in audit["professions"]
            ],
        )
        for title, audit in documents.audits
    ]
    return shares.draw_shares(panels) if panels[0][1] else None


def _arrows(documents: Documents) -> Figure | None:
    if documents.after is None:
        return None
    moves = [
        arrows.Movement(
            move.profession, move.share_female, move.share_before, move.share_after, move.fb_change
        )
        for move in movements(documents.before, documents.after)
    ]
    return arrows.draw_arrows(moves) if moves else None


def _histogram(documents: Documents) -> Figure | None:
    before = documents.before["histogram"]
    after = documents.after["histogram"] if documents.after else None
    return histogram.draw_histogram(
        before["edges"], before["by_polarity"], after and after["by_polarity"]
    )


def _heatmap(documents: Documents) -> Figure | None:
    panels = [(title, _cells(audit)) for title, audit in documents.audits]
    return heatmap.draw_heatmap(panels) if all(cells for _, cells in panels) else None


def _cells(audit: Audit) -> dict[tuple[str, str], float]:
    rows = audit["by_template_group"]
    return {(row["template"], row["group"]): row["fb_score"] for row in rows}


def _splits(documents: Documents) -> Figure | None:
    if documents.edit is None:
        return None
    rows = [
        carryover.Row(
            split_name(name),
            split["fb_before"],
            _pair(split["ci95_before"]),
            split["fb_after"],
            _pair(split["ci95_after"]),
        )
        for name, split in documents.edit["splits"].items()
    ]
    return carryover.draw_intervals(rows) if rows else None


def _pair(interval: list[float]) -> tuple[float, float]:
    low, high = interval
    return low, high


def _weights(documents: Documents) -> Figure | None:
    if documents.edit is None:
        return None
    edited = edited_weights(documents.edit)
    blocks = ((row["layer"], row["weights"]) for row in edited["by_layer"])
    layers = [(layer, count) for layer, count in blocks if isinstance(layer, int)]
    modules = [(row["module"], row["weights"]) for row in edited["by_module"]]
    return weights.draw_weights(layers, modules) if layers and modules else None


def _budgets(documents: Documents) -> Figure | None:
    if documents.edit is None or not documents.edit.get("curve"):
        return None
    points = [
        budgets.Budget(point["weights"], point["dev_fb"], point["kl"], point["chosen"])
        for point in documents.edit["curve"]
    ]
    return budgets.draw_budgets(points, documents.edit["kl"]["budget"])


FIGURES: dict[str, Callable[[Documents], Figure | None]] = {
    "shares": _shares,
    "arrows": _arrows,
    "splits": _splits,
    "histogram": _histogram,
    "heatmap": _heatmap,
    "weights": _weights,
    "budgets": _budgets,
}
