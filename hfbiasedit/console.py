"""What people see: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Progress(Protocol):
    """What `progress` yields."""

    def advance(self, amount: float = 1) -> None:
        """Move the bar on by `amount`."""

    def describe(self, description: str) -> None:
        """Replace the text before the bar."""


class _Silent:
    def advance(self, amount: float = 1) -> None:
        pass

    def describe(self, description: str) -> None:
        pass


class _Bar:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: float = 1) -> None:
        self._bar.advance(self._task, amount)

    def describe(self, description: str) -> None:
        self._bar.update(self._task, description=description)


def _console(stderr: bool) -> Console:
    from rich.console import Console

    # Piped output has no window to fit: wide enough that no column is cut.
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 120
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=stderr)


def table(renderable: RenderableType) -> None:
    """Print a rich table (or any renderable) to standard output."""
    _console(stderr=False).print(renderable)


def print_json(value: Any) -> None:
    """Print exactly one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def message(text: str) -> None:
    """Say something to the person in front of the terminal (standard error)."""
    _console(stderr=True).print(text, markup=False)


def warn(text: str) -> None:
    """Say something that the reader must not miss (standard error, yellow)."""
    _console(stderr=True).print(f"warning: {text}", markup=False, style="yellow")


@contextlib.contextmanager
def progress(description: str, total: float | None) -> Iterator[Progress]:
    """A progress bar with rate and time left on standard error; silent when that is no terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )

    class WithRate(Progress):
        def get_renderables(self):  # type: ignore[no-untyped-def]
            for task in self.tasks:
                task.fields["rate"] = f"{task.speed:.1f}/s" if task.speed else ""
            yield from super().get_renderables()

    with WithRate(*columns, console=_console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task(description, total=total, rate=""))
