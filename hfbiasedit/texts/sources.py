"""Documents out of rows: which field holds the text, rows of a Hub dataset, one digest of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.jsonl import read_objects

MOST_DOCUMENTS = 2000  # of a folder or dataset; more code than a measurement or an edit looks at


def texts_digest(texts: Iterable[str]) -> str:
    """SHA-256 of documents in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def text_of(row: object, where: str, fields: Sequence[str]) -> str:
    """The first of `fields` of a row that is text.

    Raises:
        BiasEditError: none of them is; the message begins with `where`.
    """
    if isinstance(row, dict):
        for name in fields:
            if isinstance(row.get(name), str):
                text: str = row[name]
                return text
    raise BiasEditError(f"{where}: no text in the field {' or '.join(fields)}")


def read_texts(path: Path, fields: Sequence[str]) -> list[str]:
    """The documents of a JSONL file.

    Raises:
        BiasEditError: it cannot be read, or a line holds no text.
    """
    return [text_of(row, f"{path}: line {number}", fields) for number, row in read_objects(path)]


def first_rows(name: str, config: str | None, split: str, most: int) -> list[Any]:
    """The first rows of a Hub dataset, streamed.

    Raises:
        BiasEditError: it cannot be loaded; one line with the first line of the reason.
    """
    from datasets import load_dataset

    try:
        return list(islice(load_dataset(name, config, split=split, streaming=True), most))
    except Exception as error:  # the loader raises its own, the Hub's and the formats' errors
        reason = str(error).strip().split("\n")[0]
        raise BiasEditError(f"cannot load the dataset {name}: {reason}; give a file") from error
