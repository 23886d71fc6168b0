"""The root command and the one place where failures become a line and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from hfbiasedit.errors import BiasEditError
from hfbiasedit.versions import __version__

app = typer.Typer(
    name="hfbiasedit",
    help="Measure and edit the gender bias of code language models on the Hugging Face Hub.",
    no_args_is_help=True,
    # Plain help: drawing it with rich takes longer than importing everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order of a working day. `cli/<command>.py` holds a function of that name, or a group `app`.
_COMMANDS = (
    "demo",
    "audit",
    "compare",
    "ability",
    "locate",
    "edit",
    "sweep",
    "patch",
    "card",
    "push",
    "dataset",
)
for _name in _COMMANDS:
    if find_spec(f"hfbiasedit.cli.{_name}") is None:
        continue
    _module = import_module(f"hfbiasedit.cli.{_name}")
    if hasattr(_module, "app"):
        app.add_typer(_module.app, name=_name)
    else:
        app.command(_name)(getattr(_module, _name))


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
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app()
    except SystemExit as stop:
        if stop.code == 130:  # typer's answer to Ctrl-C, which says nothing
            sys.stderr.write("interrupted\n")
        raise
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
    # A file that is named says more than the Hub's guess that its cache is meant.
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return _explain_file(error)
    if "huggingface_hub" in sys.modules:
        from hfbiasedit.hub.errors import explain as explain_hub

        if text := explain_hub(error):
            return text
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_file(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; try --dtype bfloat16, a smaller --batch-size or --device-map auto"
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first} (--debug shows where)"


def _explain_file(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; free some space and try again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read{where}; choose another directory"
    return f"{error.strerror}{where}"


def _fail(text: str, status: int) -> None:
    sys.stderr.write(f"error: {' '.join(text.split())}\n")
    sys.exit(status)
