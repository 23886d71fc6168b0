"""General code that an edit must leave alone, and where it comes from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import data_path

_FIELDS = ("text", "content", "code")
_MOST_DOCUMENTS = 2000


@dataclass(frozen=True)
class Anchor:
    """Documents of general code; `sha256` is of their contents."""

    name: str
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the documents in order."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()


def load_anchor(source: str | Path | None = None) -> Anchor:
    """The default anchor, a file (JSONL with `text`, or any text file), or a Hub dataset id.

    Raises:
        BiasEditError: the source does not exist, cannot be read, or holds no text.
    """
    if source is None:
        path = data_path("anchor", "code.jsonl")
        return Anchor("hfbiasedit/anchor", tuple(_read_jsonl(path)))
    path = Path(source)
    if path.is_file():
        texts = _read_jsonl(path) if path.suffix == ".jsonl" else [_read(path)]
    elif path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file())
        texts = [_read(item) for item in files[:_MOST_DOCUMENTS]]
    elif path.is_absolute() or path.suffix or len(path.parts) > 2:
        raise BiasEditError(
            f"anchor {source} does not exist; give a file, a folder or a dataset id"
        )
    else:
        texts = _from_hub(str(source))
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise BiasEditError(f"anchor {source} holds no text")
    return Anchor(str(source), tuple(texts))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BiasEditError(f"cannot read the anchor {path}: {error.strerror or error}") from error


def _read_jsonl(path: Path) -> list[str]:
    texts = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BiasEditError(f"{path} line {number} is not JSON: {error}") from error
        texts.append(_text_of(row, f"{path} line {number}"))
    return texts


def _text_of(row: object, where: str) -> str:
    if isinstance(row, dict):
        for name in _FIELDS:
            if isinstance(row.get(name), str):
                return row[name]
    raise BiasEditError(f"{where} has no text; it needs one of the fields {', '.join(_FIELDS)}")


def _from_hub(name: str) -> list[str]:
    from itertools import islice

    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
        return [_text_of(row, f"dataset {name}") for row in islice(rows, _MOST_DOCUMENTS)]
    except BiasEditError:
        raise
    except Exception as error:  # the loader raises its own, the Hub's and the file formats' errors
        reason = str(error).strip().split("\n")[0]
        raise BiasEditError(
            f"cannot load the anchor dataset {name}: {reason}; give a file instead"
        ) from error
