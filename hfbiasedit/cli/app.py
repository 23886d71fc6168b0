"""The root command and the one place where failures become a line and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from hfbiasedit.cli.sections import SectionedCommand
from hfbiasedit.errors import BiasEditError
from hfbiasedit.versions import __version__

# In the order of a working day. `cli/<command>.py` holds a function of that name, or a group `app`;
# it is imported when the command runs, so that `--help` stays quick. The first line of its
# docstring is repeated here (a test compares them).
COMMANDS = {
    "demo": "Audit and edit the small model that ships with the package; offline, a minute or two.",
    "audit": "Measure the FB-Score of a model: 0 matches reality, lower is better.",
    "compare": "Compare audits of the same prompts: paired differences with 95% intervals.",
    "ability": "Measure general coding ability: perplexity, syntax, pass@k; "
    "before and after a patch.",
    "locate": "Rank blocks, matrices and rows by how much they carry the bias.",
    "edit": "Bring a model closer to reality by editing few weights; writes a run directory.",
    "sweep": "Edit at every granularity under one protocol and compare.",
    "patch": "Show, verify, apply, revert, combine and make patches.",
    "card": "Render README.md, report.html and the figures of a run directory again.",
    "push": "Publish a run: the patched model or the patch, with its card and reports, "
    "in one commit.",
    "dataset": "CodeGenBias: professions, modifiers and templates tied to real shares of women.",
}


class LazyGroup(typer.core.TyperGroup):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All command names, in the order of `COMMANDS`."""
        return [*COMMANDS, *(name for name in super().list_commands(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command; None when there is no such one."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"hfbiasedit.cli.{cmd_name}")
        group = getattr(module, "app", None)
        if group is None:
            group = typer.Typer(add_completion=False, rich_markup_mode=None)
            group.command(cmd_name, cls=SectionedCommand)(getattr(module, cmd_name))
        command = typer.main.get_command(group)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="hfbiasedit",
    cls=LazyGroup,
    help="Measure and edit the gender bias of code language models on the Hugging Face Hub.",
    no_args_is_help=True,
    # Plain help: drawing it with rich takes longer than importing everything else together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
            import traceback

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
        from hfbiasedit.hub.failures import explain as explain_hub

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
