"""The root command and the one place where failures become a line and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from hfbiasedit.cli import (
    ability,
    audit,
    card,
    compare,
    dataset,
    demo,
    edit,
    locate,
    patch,
    push,
    sweep,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.versions import __version__

app = typer.Typer(
    name="hfbiasedit",
    help="Measure and edit the gender bias of code language models on the Hugging Face Hub.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command, panel in (
    ("demo", demo.demo, "Start here"),
    ("audit", audit.audit, "Measure"),
    ("compare", compare.compare, "Measure"),
    ("ability", ability.ability, "Measure"),
    ("locate", locate.locate, "Edit"),
    ("edit", edit.edit, "Edit"),
    ("sweep", sweep.sweep, "Edit"),
    ("card", card.card, "Publish"),
    ("push", push.push, "Publish"),
):
    app.command(name, rich_help_panel=panel)(command)
app.add_typer(patch.app, name="patch", rich_help_panel="Edit")
app.add_typer(dataset.app, name="dataset", rich_help_panel="Measure")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hfbiasedit {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Measure and edit the gender bias of code language models on the Hugging Face Hub."""
    if debug:
        os.environ["HFBIASEDIT_DEBUG"] = "1"


def main() -> None:
    """Run the command line; every failure ends as one line on standard error."""
    # The installed libraries talk a lot; a run that they do not fail needs none of it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing more to say, and nothing to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("HFBIASEDIT_DEBUG"):
            traceback.print_exc()
        _fail(explain(error), getattr(error, "exit_code", 1))


def explain(error: BaseException) -> str:
    """One line for any failure: our own words, the Hub's, the system's, or the exception's."""
    if isinstance(error, BiasEditError):
        return str(error)
    if "huggingface_hub" in sys.modules:
        from hfbiasedit.hub.errors import explain as explain_hub

        if text := explain_hub(error):
            return text
    if isinstance(error, OSError) and error.errno is not None:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno == errno.ENOSPC:
            return f"the disk is full{where}; free some space and try again"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"no permission to write or read{where}; choose another directory"
        return f"{error.strerror}{where}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; try --dtype bfloat16, a smaller --batch-size or --device-map auto"
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first} (--debug shows where)"


def _fail(text: str, status: int) -> None:
    sys.stderr.write(f"error: {' '.join(text.split())}\n")
    sys.exit(status)
