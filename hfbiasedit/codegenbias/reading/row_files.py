"""Rows of prompt files: JSONL, and what `dataset export` writes as CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfbiasedit.codegenbias.csv_rows import read_csv
from hfbiasedit.codegenbias.records import RECORD_SPLITS
from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.jsonl import read_objects

Rows = Iterator[tuple[str, dict[str, Any]]]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a UTF-8 text file with their numbers, from 1.

    Raises:
        BiasEditError: the file is missing, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BiasEditError(f"cannot read {path} as UTF-8 text: {error}") from error
    # Only line feeds end a line: JSON strings may hold other characters that `splitlines` cuts at.
    return list(enumerate(text.split("\n"), 1))


def read_rows(path: Path) -> Rows:
    """Each row of a file as (place for messages, values), unchecked.

    `path` may be a folder of one exported configuration: its splits are then read in order.

    Raises:
        BiasEditError: a file or line that cannot be read.
    """
    if path.is_dir():
        files = [path / f"{split}{suffix}" for split in RECORD_SPLITS for suffix in _READERS]
        files = [file for file in files if file.is_file()]
        if not files:
            raise BiasEditError(
                f"{path} holds no prompts; name a .jsonl file, or the folder of one exported "
                "configuration such as OUT/data/quick"
            )
        for file in files:
            yield from _reader(file)(file)
        return
    yield from _reader(path)(path)


def _reader(path: Path) -> Callable[[Path], Rows]:
    return _READERS.get(path.suffix, _jsonl)  # .jsonl.gz too


def _jsonl(path: Path) -> Rows:
    return ((f"{path}: line {number}", row) for number, row in read_objects(path))


def _csv(path: Path) -> Rows:
    for where, row in read_csv(path, ("prompt", "profession")):
        values: dict[str, Any] = dict(row)
        for name in ("male", "female"):
            if str(values.get(name, "")).startswith("["):
                values[name] = _list(values[name], f"{where}: {name}")
        yield where, values


def _list(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BiasEditError(f"{where} is not a JSON list ({error})") from error


def _parquet(path: Path) -> Rows:
    import pyarrow as arrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        raise BiasEditError(f"cannot read {path} as Parquet: {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}: row {number}", row


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
