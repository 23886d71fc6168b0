"""Real code: the standard library of the Python that runs this, cut into documents."""

from __future__ import annotations

import ast
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

SKIPPED = frozenset(
    [
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "encodings",
        "pydoc_data",
        "ensurepip",
        "turtledemo",
        "__pycache__",
        "config",
        "_pyrepl",
    ]
)
LONGEST_LINE = 160


def modules() -> list[Path]:
    """The modules of the standard library that are written by hand, sorted."""
    root = Path(sysconfig.get_paths()["stdlib"])
    return sorted(
        p for p in root.rglob("*.py") if not SKIPPED & set(p.relative_to(root).parts[:-1])
    )


def _source(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if all(len(line) <= LONGEST_LINE for line in text.splitlines()) else None


def functions(text: str, longest: int = 1500) -> Iterator[str]:
    """Every function and short class of a module on its own, moved to the left margin."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.end_lineno is not None:
            source = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
            if 40 <= len(source) <= longest:
                yield source


def blocks(text: str, size: int = 1800) -> Iterator[str]:
    """A module in pieces of about ``size`` characters, cut before a line that is not indented."""
    piece: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        if length > size and not line.startswith((" ", "\t", "\n", ")", "]", "}", "#", "'", '"')):
            yield "".join(piece)
            piece, length = [], 0
        piece.append(line)
        length += len(line)
    if length > 40:
        yield "".join(piece)


def documents() -> Iterator[str]:
    """All documents of the standard library: each module in pieces, and its functions alone."""
    for path in modules():
        text = _source(path)
        if text:
            yield from blocks(text)
            yield from functions(text)
