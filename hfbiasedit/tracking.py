"""What a command measures, sent to a tracker such as trackio or wandb: one run per command.

Off unless it is asked for. What a tracker needs besides (a project, a login, a place) it takes from
its own environment variables; a tracker that fails on the way costs its metrics and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypedDict

from hfbiasedit.console import warn
from hfbiasedit.errors import BiasEditError, first_line
from hfbiasedit.fields import Options, documented, option
from hfbiasedit.registry import Registry

PROJECT = "hfbiasedit"
# Takes metrics and the step that they belong to (None: the end).
Log = Callable[[Mapping[str, Any], "int | None"], None]

# Name -> a class of `Tracker`s, made without arguments.
TRACKERS: Registry[Any] = Registry(
    "tracker",
    "hfbiasedit.trackers",
    {"trackio": "hfbiasedit.tracking:Trackio", "wandb": "hfbiasedit.tracking:Wandb"},
)


@documented
@dataclass(frozen=True, kw_only=True)
class TrackingOptions(Options):
    """Where metrics go besides."""

    track: str | None = option(
        None,
        f"Send metrics to a tracker that is installed: {', '.join(TRACKERS)}.",
        note="An installed package may add others.",
        choices=TRACKERS.names,
        check=lambda _, name: TRACKERS.check(name),
    )


class TrackingOverrides(TypedDict, total=False):
    """`TrackingOptions` as keywords."""

    track: str | None


class Tracker(Protocol):
    """One run of a tracker."""

    def start(self, name: str, about: Mapping[str, Any]) -> None:
        """Begin a run of a name; `about` is what was asked for."""

    def log(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Take metrics."""

    def finish(self) -> None:
        """End the run."""


class Library:
    """A library with `init`, `log` and `finish` as wandb has them.

    Attributes:
        module: its name.
    """

    module = ""

    def start(self, name: str, about: Mapping[str, Any]) -> None:
        """Begin a run; `TRACKIO_PROJECT` or `WANDB_PROJECT` name another project than ours.

        Raises:
            BiasEditError: it is not installed.
        """
        try:
            self._library: Any = importlib.import_module(self.module)
        except ImportError as error:
            raise BiasEditError(
                f"--track {self.module} needs it: pip install {self.module}"
            ) from error
        project = os.environ.get(f"{self.module.upper()}_PROJECT") or PROJECT
        self._library.init(project=project, name=name, config=dict(about))

    def log(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Take metrics."""
        self._library.log(dict(metrics), step=step)

    def finish(self) -> None:
        """End the run."""
        self._library.finish()


class Trackio(Library):
    """Local, or a Space of the Hub (`TRACKIO_SPACE_ID`)."""

    module = "trackio"


class Wandb(Library):
    """Weights & Biases."""

    module = "wandb"


@contextlib.contextmanager
def tracked(tracker: str | None, command: str, model: Any, options: Options) -> Iterator[Log]:
    """A run while the block lasts; without a tracker nothing is sent.

    Args:
        tracker: a name, or None. command: what is done. model: to what. options: how.

    Raises:
        BiasEditError: the tracker is not installed, or refuses to begin.
    """
    if tracker is None:
        yield lambda metrics, step: None
        return
    made: Tracker = TRACKERS.load(tracker)()
    name = Path(model).name if isinstance(model, str | Path) else type(model).__name__
    about = {"command": command, "model": name, **_chosen(options)}
    try:
        with _own_output():
            made.start(f"{command} {name}", about)
    except BiasEditError:
        raise
    except Exception as error:  # code of others
        raise BiasEditError(f"{tracker} does not begin: {first_line(error)}") from error

    def log(metrics: Mapping[str, Any], step: int | None) -> None:
        _try(tracker, lambda: made.log(numbers(metrics), step))

    try:
        yield log
    finally:
        _try(tracker, made.finish)


def numbers(document: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a document by path; an interval is two of them, other lists are left out."""
    found: dict[str, float] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= numbers(value, f"{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, list | tuple) and "ci95" in key and len(value) == 2:
            found |= {f"{name}_low": value[0], f"{name}_high": value[1]}
    return found


def _chosen(options: Options) -> dict[str, str | int | float | bool]:
    """Options that are not at their defaults; files by their names alone."""
    found: dict[str, str | int | float | bool] = {}
    for one in fields(options):
        value = getattr(options, one.name)
        if one.default is MISSING or value == one.default:
            continue
        plain = isinstance(value, int | float)
        found[one.name] = value if plain else Path(str(value)).name
    return found


def _try(tracker: str, send: Callable[[], None]) -> None:
    try:
        with _own_output():
            send()
    except Exception as error:  # code of others; what was measured is worth more
        warn(f"{tracker} took no metrics: {first_line(error)}")


def _own_output() -> contextlib.AbstractContextManager[Any]:
    """What a tracker prints goes where messages go: standard output is for results."""
    return contextlib.redirect_stdout(sys.stderr)
