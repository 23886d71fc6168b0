"""What may be replaced: an earlier output of the same kind, and nothing else with it.

What is replaced is gone. So each kind of output says what its directories hold, and one that holds
anything else is left alone, before the work and not after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.outputs import contents_of


def files_of(path: Path) -> set[str]:
    """All that is lost where a directory is replaced: the files in it and in its folders."""
    return {
        entry.relative_to(path).as_posix()
        for name in contents_of(path)
        for entry in (path / name, *(path / name).rglob("*"))
        if entry.is_symlink() or not entry.is_dir()
    }


@dataclass(frozen=True)
class Kind:
    """A kind of output.

    Attributes:
        name: what messages call one: `a run`.
        has: whether a name is one that such a directory has.
        is_one: whether of all names in a directory it is clear that it is such an output, whatever
            else it holds; by default any name that it has makes it one.
        names: which names are asked for: those in the directory, or `files_of` it.
        error: what a refusal is.
    """

    name: str
    has: Callable[[str], bool]
    is_one: Callable[[set[str]], bool] | None = None
    names: Callable[[Path], set[str]] = contents_of
    error: type[BiasEditError] = BiasEditError


def holds_something(path: Path) -> bool:
    """Whether a path is a directory with anything in it that somebody may miss."""
    return path.is_dir() and bool(contents_of(path))


def refuse_other(path: Path, kind: Kind) -> None:
    """Refuse a directory that holds something else than an earlier output of a kind.

    Raises:
        BiasEditError: it does; what is not there or is empty does not.
    """
    if not holds_something(path):
        return
    names = kind.names(path)
    is_one = any(map(kind.has, names)) if kind.is_one is None else kind.is_one(names)
    if not is_one:
        raise kind.error(f"{path} holds something else than {kind.name}; choose another directory")
    refuse_more(path, kind.name, (name for name in names if not kind.has(name)), kind.error)


def refuse_more(
    path: Path, what: str, strange: Iterable[str], error: type[BiasEditError] = BiasEditError
) -> None:
    """Refuse a directory with names that are strange to what replaces it.

    Raises:
        BiasEditError: there are any; the message names the first of them.
    """
    if found := sorted(strange):
        raise error(f"{path} holds more than {what} ({listed(found, 3)}); choose another directory")
