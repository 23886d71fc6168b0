"""Rows of a CSV file of the user's, with nothing lost or taken for something else in silence."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from hfbiasedit.errors import BiasEditError

# Spreadsheets write semicolons where the decimal sign is a comma, and tabs when cells are copied.
_SEPARATORS = (",", ";", "\t")


def read_csv(path: Path, needed: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row as (place for messages, cells by column); cells that are missing are left out.

    Column names are taken in lower case and without spaces around them. Commas, semicolons and
    tabs separate: the first of them under which the header has the needed columns.

    Args:
        path: a UTF-8 file whose first line names the columns.
        needed: columns without which the file is of no use.

    Raises:
        BiasEditError: unreadable, a needed column is missing, a column is there twice, or a row
            has more cells than the header has names.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            separator = _separator(file.readline(), needed)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            header = _header(next(reader, []), needed, f"{path}: line 1")
            for cells in reader:
                if cells:
                    where = f"{path}: line {reader.line_num}"
                    yield where, _row(header, cells, where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BiasEditError(f"cannot read {path} as UTF-8 CSV: {error}") from error


def _separator(first: str, needed: Collection[str]) -> str:
    """The separator of a file with this first line; a comma where none fits."""
    for separator in _SEPARATORS:
        if set(needed) <= set(_names(next(csv.reader([first], delimiter=separator), []))):
            return separator
    return ","


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _header(cells: list[str], needed: Collection[str], where: str) -> list[str]:
    names = _names(cells)
    if missing := sorted(set(needed) - set(names)):
        raise BiasEditError(
            f"{where}: no column {' and '.join(missing)}; the columns are {', '.join(names)}"
        )
    twice = [name for name, number in Counter(names).items() if name and number > 1]
    if twice:
        raise BiasEditError(f"{where}: column {twice[0]} is there twice; remove one")
    return names


def _row(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    """The cells by column; text beyond the named columns is an error (`nurse,0,88`)."""
    names = [*header, *[""] * (len(cells) - len(header))]
    row = {name: cell for name, cell in zip(names, cells, strict=False) if name}
    nameless = [cell for name, cell in zip(names, cells, strict=False) if not name]
    if any(cell.strip() for cell in nameless):
        raise BiasEditError(
            f"{where}: {len(cells)} cells, but {sum(map(bool, header))} columns have a name; put "
            "quotes around a cell that holds the separator, and write numbers with a point"
        )
    return row
