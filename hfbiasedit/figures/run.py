"""Draw every figure that the documents of a directory allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.figures import plots, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Name of the file -> how it is drawn, in the order of `names.FIGURES`.
FIGURES: dict[str, Callable[[Documents], Figure]] = {
    "shares": plots.shares,
    "arrows": plots.arrows,
    "splits": plots.splits,
    "groups": plots.groups,
    "templates": plots.templates,
    "histogram": plots.histogram,
    "heatmap": plots.heatmap,
    "weights": plots.weights,
    "budgets": plots.budgets,
}


def write_figures(directory: Path) -> list[Path]:
    """Draw into `directory/figures/` as PNG and SVG and return the paths, sorted.

    `directory` is a run or the output of an audit. A figure whose numbers are not there
    (one audit has no arrows) is left out; one of earlier numbers goes.

    Raises:
        BiasEditError: the directory holds neither a run nor an audit.
    """
    documents = open_documents(directory)
    folder = Path(directory) / runs.FIGURES
    paths: list[Path] = []
    for name, figure in _drawn(documents):
        paths += style.save(figure, folder / name)
    for name in FIGURES:
        for kind in style.KINDS:
            path = folder / f"{name}.{kind}"
            if path not in paths:
                path.unlink(missing_ok=True)
    return sorted(paths)


def render_figures(documents: Documents) -> dict[str, bytes]:
    """The same figures as SVG in memory, by name, for pages that carry them inside."""
    return {name: style.render(figure, "svg") for name, figure in _drawn(documents)}


def _drawn(documents: Documents) -> Iterator[tuple[str, Figure]]:
    with style.settings():
        for name, draw in FIGURES.items():
            try:
                figure = draw(documents)
            except plots.NoSuchFigure:
                continue
            yield name, figure
