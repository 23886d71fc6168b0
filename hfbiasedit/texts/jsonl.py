"""JSON lines, plain or compressed, with the line named when one is wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfbiasedit.errors import BiasEditError


def is_jsonl(path: Path) -> bool:
    """Whether a file holds JSON lines, by its name."""
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a `.jsonl` or `.jsonl.gz` file; empty lines are skipped.

    Raises:
        BiasEditError: the file cannot be read or a line is not a JSON object.
    """
    path = Path(path)
    try:
        opened = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115
        with opened as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parse(line, f"{path}: line {number}")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise BiasEditError(f"cannot read {path}: {reason}") from error


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        raise BiasEditError(f"{where}: not in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BiasEditError(f"{where}: not JSON ({error})") from error
    if b"\\u" in line:
        refuse_half_characters(value, where)
    if not isinstance(value, dict):
        raise BiasEditError(f"{where}: not a JSON object")
    return value


def refuse_half_characters(value: Any, where: str) -> None:
    """Refuse what JSON can escape and nothing else can hold.

    Raises:
        BiasEditError: some text of the value has a lone surrogate in it.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BiasEditError(
            f"{where} holds half of a character (a lone surrogate, \\ud800); correct it there"
        ) from error


def text_field(value: dict[str, Any], name: str, where: str) -> str:
    """A field that must be there and be text.

    Raises:
        BiasEditError: it is missing or something else.
    """
    if name not in value:
        raise BiasEditError(f"{where}: no field {name!r}")
    if not isinstance(value[name], str):
        raise BiasEditError(f"{where}: {name!r} is {type(value[name]).__name__}, not text")
    text: str = value[name]
    return text
