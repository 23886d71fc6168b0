"""The files by which a checkpoint directory shows that a change of it was interrupted."""

from __future__ import annotations

from pathlib import Path

from hfbiasedit.errors import BiasEditError

NAME = ".hfbiasedit-journal"
LOCK = ".hfbiasedit-lock"  # held while the directory is changed; a kill may leave it
STRAY = ".hfbiasedit-tmp"
ADVICE = "finish or undo it with: hfbiasedit patch recover"


def pending(path: Path) -> bool:
    """Whether a change in place of this checkpoint directory was interrupted."""
    return (Path(path) / NAME).exists()


def refuse_pending(path: Path) -> None:
    """Refuse to work with a directory whose change in place was interrupted.

    Raises:
        BiasEditError: it was.
    """
    if pending(path):
        raise BiasEditError(f"a change in place was interrupted here, {ADVICE} {path}")


def is_stray(name: str) -> bool:
    """Whether a file is an unfinished temporary one of a change that was killed."""
    return name.startswith(".") and (
        name.endswith(STRAY) or (name.startswith(f".{NAME}.") and name.endswith(".tmp"))
    )
