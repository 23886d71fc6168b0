"""Phases of long work, shown while they last.

On a terminal every phase over two seconds has a bar. Elsewhere a plain line comes at least every
half minute. Phases may lie inside each other; a thread of its own shows them, so that a phase whose
steps are long is seen as well.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

EVERY = 30.0  # seconds between lines where there is no terminal
AFTER = 2.0  # seconds before a phase has a bar
_TICK = 0.25  # seconds between looks at what is to be shown


@dataclass(eq=False)
class Phase:
    """Work under way: `done` of `total` steps, which is None where nobody knows how many."""

    description: str
    total: float | None
    started: float
    clock: Callable[[], float] = time.monotonic
    done: float = 0.0
    known: float = 0.0

    def __post_init__(self) -> None:
        self.started_counting = self.started

    def advance(self, amount: float = 1) -> None:
        """Count `amount` more steps as done."""
        if not self.done and amount > 1:  # many at once: known from an earlier run, perhaps
            self.started_counting, self.known = self.clock(), amount
        self.done += amount

    def describe(self, description: str) -> None:
        """Say otherwise what is being done."""
        self.description = description

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self.clock() - self.started

    @property
    def left(self) -> float | None:
        """Seconds that it will last at the rate so far; None while there is no rate."""
        if self.total is None or not self.known < self.done <= self.total:
            return None
        rate = (self.done - self.known) / max(self.clock() - self.started_counting, 1e-9)
        return (self.total - self.done) / rate

    @property
    def words(self) -> str:
        """What it is and how far: `scoring prompts, 12 of 30 (about 41 s left)`."""
        if self.total is None:
            return self.description
        rest = "" if not self.left else f" (about {duration(self.left)} left)"
        return f"{self.description}, {self.done:,.0f} of {self.total:,.0f}{rest}"


def duration(seconds: float) -> str:
    """A length of time for people: `41 s`, `3 min 10 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass
class Board:
    """The phases under way, the innermost last.

    Attributes:
        bars: whether there is a terminal for bars.
        write: prints a line.
        every: seconds between lines; None: no phase is shown.
        ends: whether the end of every phase is a line as well.
        quiet: whether nothing is shown after all.
    """

    bars: bool
    write: Callable[[str], None]
    every: float | None = EVERY
    ends: bool = False
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic
    phases: list[Phase] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._spoke = self.clock()
        self._live: Any = None
        self._tasks: dict[Phase, Any] = {}

    @contextlib.contextmanager
    def phase(self, description: str, total: float | None) -> Iterator[Phase]:
        """Show a phase for as long as the block lasts."""
        phase = Phase(description, total, self.clock(), self.clock)
        with self._lock:
            self.phases.append(phase)
            if len(self.phases) == 1 and self.every is not None:
                self._stop = threading.Event()
                threading.Thread(target=self._watch, args=(self._stop,), daemon=True).start()
        try:
            yield phase
        finally:
            with self._lock:
                self._leave(phase)

    def show(self) -> None:
        """Show what is due now: bars as they are, or a line where the last one is long ago."""
        with self._lock:
            if self.quiet or self.every is None or not self.phases:
                return
            if self.bars:
                self._draw()
            elif self.clock() - self._spoke >= self.every:
                self.say(self.line())

    def line(self) -> str:
        """All phases in a line, the outermost first, and the time since that began."""
        words = ": ".join(phase.words for phase in self.phases)
        return f"{words}; {duration(self.phases[0].seconds)} so far"

    def say(self, text: str) -> None:
        """Print a line, above the bars where there are any."""
        with self._lock:
            self._spoke = self.clock()
            if self._live is not None:
                from rich.text import Text

                self._live.console.print(Text.from_ansi(text), soft_wrap=True)
            else:
                self.write(text)

    def _leave(self, phase: Phase) -> None:
        """End a phase, and those inside that an error has left open."""
        at = self.phases.index(phase) if phase in self.phases else len(self.phases)
        for gone in self.phases[at:]:
            if gone in self._tasks:
                self._live.remove_task(self._tasks.pop(gone))
        del self.phases[at:]
        if not self._tasks and self._live is not None:
            self._live.stop()
            self._live = None
        if self.ends and self.every is not None and phase.seconds >= 1:
            self.say(f"{phase.words}: done in {duration(phase.seconds)}")
        if not self.phases:
            self._stop.set()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_TICK):
            self.show()

    def _draw(self) -> None:
        for phase in self.phases:
            if phase not in self._tasks and phase.seconds >= AFTER:
                if self._live is None:
                    self._live = _live()
                    self._live.start()
                made = self._live.add_task(phase.description, total=phase.total, phase=phase)
                self._tasks[phase] = made
            if phase in self._tasks:
                self._live.update(
                    self._tasks[phase],
                    completed=phase.done,
                    description=phase.description,
                )
        if self._live is not None:
            self._live.refresh()


def _live() -> Any:
    """rich's bars: description, bar, count, time so far and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        def render(self, task: Task) -> Text:
            phase: Phase = task.fields["phase"]
            count = "" if phase.total is None else f"{phase.done:,.0f}/{phase.total:,.0f}  "
            left = "" if phase.left is None else f", {duration(phase.left)} left"
            return Text(f"{count}{duration(phase.seconds)}{left}")

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Times(),
        console=Console(file=sys.stderr, highlight=False),
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
