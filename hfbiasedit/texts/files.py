"""Files of code as they are, byte for byte; anchor and corpus read theirs here.

Line ends are a part of the text: translated ones are other tokens, and another perplexity than
that of the same code in JSON lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hfbiasedit.console import warn
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.texts.jsonl import is_jsonl
from hfbiasedit.texts.sources import MOST_DOCUMENTS, read_texts

# Folders of a project that hold what was fetched or made, besides the hidden ones (`.git`).
_NOT_CODE = {"__pycache__", "node_modules"}


def read_documents(path: Path, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and texts of a file of code, of a folder of them, or of the rows of a JSONL file.

    In a folder hidden files, `__pycache__` and `node_modules` are passed over; binary files and
    those in another encoding than UTF-8 are left out with a warning.

    Args:
        path: the file or folder.
        fields: where a row may hold its text, the likeliest first.

    Raises:
        BiasEditError: a file cannot be read, or the only one is no text.
    """
    if path.is_dir():
        return _folder(path)
    if is_jsonl(path):
        texts = read_texts(path, fields)
        return [f"line {number}" for number in range(1, len(texts) + 1)], texts
    text = _text(path)
    if text is None:
        raise BiasEditError(f"{path} is no text in UTF-8; convert it first")
    return [path.name], [text]


def _folder(root: Path) -> tuple[list[str], list[str]]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and _counts(path, root)]
    names, texts, odd = [], [], []
    for path in files[:MOST_DOCUMENTS]:
        name, text = path.relative_to(root).as_posix(), _text(path)
        if text is None:
            odd.append(name)
        else:
            names.append(name)
            texts.append(text)
    if odd:
        warn(f"{listed(odd, 3)} in {root} left out: binary, or not in UTF-8")
    if len(files) > MOST_DOCUMENTS:
        warn(f"{root} holds {len(files):,} files; the first {MOST_DOCUMENTS:,} are read")
    return names, texts


def _counts(path: Path, root: Path) -> bool:
    """Whether a file belongs to the code of a folder."""
    parts = path.relative_to(root).parts
    return not any(part.startswith(".") or part in _NOT_CODE for part in parts)


def _text(path: Path) -> str | None:
    """The content of a file without a byte order mark; None when it is no text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BiasEditError(f"cannot read {path}: {error.strerror or error}") from error
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
