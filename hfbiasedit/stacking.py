"""Tables on narrow terminals: what does not fit side by side stands below each other.

A column that is cut is one that cannot be read. Where a table needs more room than there is, every
row becomes a heading, its first cell, with the other cells in lines of their own below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

_WORDS = 20  # columns that text can be folded to and still be read


def fitting(renderable: Any, console: Console) -> Any:
    """The renderable, or each of a group; of a table that has no room its rows below each other."""
    from rich.console import Group
    from rich.table import Table

    if isinstance(renderable, Group):
        return Group(*(fitting(part, console) for part in renderable.renderables))
    if not isinstance(renderable, Table):
        return renderable
    if _needed(renderable, console) > console.width:
        return stacked(renderable)
    for column in renderable.columns:
        if not column.no_wrap:
            column.overflow = "fold"  # to be read in full, instead of ending in dots
    return renderable


def stacked(table: Table) -> Table:
    """The rows of a table below each other; those of two columns in two lines each."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=table.title, title_justify="left", box=None, show_header=False, padding=(0, 1, 0, 0)
    )
    made.add_column(overflow="fold")
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        if cells[0] != "":  # else it goes on with the row above
            made.add_row(cells[0])
        for column, cell in zip(table.columns[1:], cells[1:], strict=True):
            if cell == "":
                continue
            if not isinstance(cell, (str, Text)):
                made.add_row(Padding(cell, (0, 0, 0, 2)))
                continue
            value = Text.from_markup(cell) if isinstance(cell, str) else cell.copy()
            line = Text(f"{_plain(column.header)}: " if column.header else "")
            for number, part in enumerate(value.split("\n")):
                line.append_text(Text(" ") if number else Text("")).append_text(part)
            made.add_row(Padding(line, (0, 0, 0, 2)))
    return made


def _needed(table: Table, console: Console) -> int:
    """Columns below which a table is cut rather than folded."""
    widths = [max(_widths(column, console), default=0) for column in table.columns]
    return sum(widths) + len(widths) * (3 if table.box else 2) + (1 if table.box else 0)


def _widths(column: Column, console: Console) -> Iterator[int]:
    from rich.measure import Measurement

    solid = column.no_wrap or column.justify == "right"
    if column.header:
        header = Measurement.get(console, console.options, column.header)
        yield header.maximum if column.no_wrap else header.minimum
    for cell in column.cells:
        widest = Measurement.get(console, console.options, cell).maximum
        yield widest if solid else min(widest, _WORDS)


def _plain(header: Any) -> str:
    return header if isinstance(header, str) else str(getattr(header, "plain", ""))
