"""What people see: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from hfbiasedit.phases import EVERY, Board
from hfbiasedit.stacking import fitting

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")


class Progress(Protocol):
    """What `progress` yields."""

    def advance(self, amount: float = 1) -> None:
        """Move the bar on by `amount`."""

    def describe(self, description: str) -> None:
        """Replace the text before the bar."""


@functools.cache
def board() -> Board:
    """The phases under way and how they are shown; of several processes the first one speaks."""
    return Board(_is_terminal(), _write_error, EVERY if _is_first() else None)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def set_verbosity(*, quiet: bool = False, verbose: bool = False) -> None:
    """How much is said on standard error: warnings only, or the end of every phase as well."""
    shown = board()
    shown.quiet, shown.ends = quiet, verbose


@contextlib.contextmanager
def progress(description: str, total: float | None) -> Iterator[Progress]:
    """A phase of work, shown on standard error while the block lasts (see `phases`).

    Args:
        description: what is being done, in a few words.
        total: how many steps it has; None where nobody knows.
    """
    with board().phase(description, total) as phase:
        yield phase


def tracked(items: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """The items, one step of a phase each; `total` for those that have no length."""
    count = len(items) if total is None and isinstance(items, Sized) else total
    with progress(description, count) as bar:
        for item in items:
            yield item
            bar.advance()


@contextlib.contextmanager
def transfer(description: str) -> Iterator[None]:
    """A phase of the Hub's client, which draws its own bars on a terminal."""
    if board().bars:
        yield
        return
    with progress(description, None):
        yield


Format = Literal["table", "json", "quiet"]
_results_alone: ContextVar[bool] = ContextVar("results_alone", default=False)


@contextlib.contextmanager
def only_results() -> Iterator[None]:
    """In the block only `result` prints to standard output (`--format quiet`)."""
    token = _results_alone.set(True)
    try:
        yield
    finally:
        _results_alone.reset(token)


def result(text: object) -> None:
    """The one thing that a script wants of a command; printed by `--format quiet` alone."""
    if _results_alone.get():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def line(text: object) -> None:
    """Print a line to standard output."""
    if not _results_alone.get():
        sys.stdout.write(f"{text}\n")


def table(renderable: RenderableType) -> None:
    """Print a rich table (or any renderable) to standard output; no column of it is cut."""
    if _results_alone.get():
        return
    console = _output()
    console.print(fitting(renderable, console))


def print_json(value: Any) -> None:
    """Print exactly one JSON document to standard output, in plain ASCII."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def message(text: str) -> None:
    """Say something to the person in front of the terminal (standard error)."""
    if _is_first() and not board().quiet:
        board().say(text)


def warn(text: str) -> None:
    """Say something that the reader must not miss (standard error, yellow)."""
    if not _is_first():  # of several processes, which all find the same
        return
    yellow, plain = ("\x1b[33m", "\x1b[0m") if _is_terminal() else ("", "")
    board().say(f"{yellow}warning: {text}{plain}")


def _write_error(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _output() -> Console:
    from rich.console import Console

    # Piped output has no window to fit: wide enough that no column is cut.
    width = None if sys.stdout.isatty() else 120
    return Console(width=width, highlight=False)
