"""How much a run says: `--quiet`, `--verbose` and `--debug`, before or after any command's name."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
import typer.main

QUIET = "Say nothing but warnings and errors."
VERBOSE = "Say when each phase ends and how long it took."
DEBUG = "Show the traceback of a failure."

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help=VERBOSE)]
DebugOption = Annotated[bool, typer.Option("--debug", help=DEBUG)]


def say_as_asked(*, debug: bool = False, quiet: bool = False, verbose: bool = False) -> None:
    """Set what was asked for; what was not asked for stays as it is.

    Raises:
        BadParameter: both quiet and verbose.
    """
    from hfbiasedit.console import set_verbosity

    if quiet and verbose:
        raise typer.BadParameter("give either --quiet or --verbose")
    if quiet or verbose:
        set_verbosity(quiet=quiet, verbose=verbose)
    if debug:
        os.environ["HFBIASEDIT_DEBUG"] = "1"


def with_these(command: Any) -> None:
    """Let a command take the options as well, under a heading of their own on its help page."""
    taken = {flag for parameter in command.params for flag in parameter.opts}
    for parameter in _parameters():
        if not taken.intersection(parameter.opts):
            command.params.append(parameter)


def _parameters() -> list[Any]:
    """The options as parameters that set what they say by themselves."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def carrier(
        quiet: QuietOption = False, verbose: VerboseOption = False, debug: DebugOption = False
    ) -> None: ...

    made = typer.main.get_command(app).params
    for parameter in made:
        parameter.callback, parameter.expose_value = _given, False
        parameter.rich_help_panel = "Messages"  # type: ignore[attr-defined]
    return list(made)


def _given(context: Any, parameter: Any, value: bool) -> None:
    if value:
        say_as_asked(**{parameter.name: True})
