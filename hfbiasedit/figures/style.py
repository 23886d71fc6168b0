"""How figures look and how they are written.

Colours are those of Okabe and Ito (2008), told apart by readers with any common colour
vision; no figure relies on colour alone. Everything is drawn through matplotlib's object
interface, never through pyplot, so that no global state is touched. The same data gives the
same bytes: no dates, fixed SVG ids, glyphs as outlines.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8C8C8C"
PALE = "#DDDDDD"
INK = "#222222"

KINDS = ("png", "svg")

# Inches; at the width of a telephone text of this size is still read.
WIDTH = 4.8

# The colours that levels have.
COLOURS = {
    "blue": BLUE,
    "sky": SKY,
    "green": GREEN,
    "orange": ORANGE,
    "vermillion": VERMILLION,
    "purple": PURPLE,
}
BEFORE = ORANGE
AFTER = BLUE
POLARITIES = {"positive": GREEN, "neutral": GREY, "negative": VERMILLION}
SEQUENTIAL = "cividis"

_SETTINGS: Any = {  # matplotlib lists the keys that it knows as a type
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    # One resolution for layout and PNG, and no hinting: text is as wide as it was laid out.
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "text.hinting": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "hfbiasedit",
}


@contextmanager
def settings() -> Iterator[None]:
    """The look of all figures, for as long as the block runs; draw and save inside it."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches with its own Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The caller's axes with their figure, or new ones of `width` x `height` inches."""
    if ax is not None:
        return ax.figure, ax  # type: ignore[return-value]  # of a sub-figure as well
    figure = new_figure(width, height)
    return figure, figure.subplots()


def share_axis(axes: Axes, axis: str, label: str) -> None:
    """Make the `x` or `y` axis show a share from 0 to 100 %."""
    from matplotlib.ticker import FixedLocator, PercentFormatter

    target = axes.xaxis if axis == "x" else axes.yaxis
    target.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    target.set_major_formatter(PercentFormatter(1, decimals=0))
    target.set_label_text(label)
    (axes.set_xlim if axis == "x" else axes.set_ylim)(-0.03, 1.03)


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and for all: PNG and SVG then agree, and labels stay in place."""
    engine = figure.get_layout_engine()
    if engine is not None:
        # Rotated labels change the room that they leave each other: one pass is not enough.
        for _ in range(2):
            engine.execute(figure)
        figure.set_layout_engine("none")


def render(figure: Figure, kind: str) -> bytes:
    """The figure as `png` or `svg`; the same bytes for the same figure."""
    freeze_layout(figure)
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg` (atomically) and return both paths."""
    paths = []
    for kind in KINDS:
        path = stem.with_name(f"{stem.name}.{kind}")
        write_bytes(path, render(figure, kind))
        paths.append(path)
    return paths


def shorten(text: str, length: int) -> str:
    """Cut a label that would run into its neighbours; newlines become spaces."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def plain(text: str) -> str:
    """Text from data, safe from matplotlib's `$...$` mathematics."""
    return text.replace("$", r"\$")
