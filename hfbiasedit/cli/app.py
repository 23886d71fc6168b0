"""The root command and the one place where failures become a line and an exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from hfbiasedit import processes
from hfbiasedit.cli.failures import explain
from hfbiasedit.cli.formats import with_format
from hfbiasedit.cli.recording import with_recipe
from hfbiasedit.cli.saying import DebugOption, QuietOption, VerboseOption, say_as_asked, with_these
from hfbiasedit.cli.sections import SectionedCommand
from hfbiasedit.cli.surroundings import prepare_streams, stopping
from hfbiasedit.startup import starting
from hfbiasedit.versions import __version__

# In the order of a working day. `cli/<command>.py` holds a function of that name, or a group `app`;
# it is imported when the command runs, so that `--help` stays quick. The first line of its
# docstring is repeated here (a test compares them).
COMMANDS = {
    "demo": "Audit and edit the small model that ships with the package; offline, a minute or two.",
    "audit": "Measure the FB-Score of a model: 0 matches the reference, lower is better.",
    "compare": "Compare audits of the same prompts: paired differences with 95% intervals.",
    "leaderboard": "Rank audits of the same prompts on one page, with one Parquet file; "
    "publish it as a Space.",
    "ability": "Measure general coding ability: perplexity, syntax, pass@k; "
    "before and after a patch.",
    "locate": "Rank blocks, matrices and rows by how much they carry the bias.",
    "edit": "Bring a model closer to the reference by editing few weights; writes a run directory.",
    "sweep": "Edit at every granularity under one protocol and compare.",
    "patch": "Show, verify, apply, revert, combine, make and export patches.",
    "card": "Render README.md, report.html and the figures of a run again; "
    "publish an audit on its model.",
    "push": "Publish a run: the patched model, the patch or an adapter, with card and reports.",
    "run": "Run a recipe: audit, edit, ability, card and push from one YAML file.",
    "dataset": "CodeGenBias: professions, modifiers and templates tied to real shares of women.",
}

# Where torchao is installed, these warn at every start of its parts for other machines.
_TALKATIVE = ("torchao", "torch.utils._pytree")


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
        for leaf in _leaves(command):
            with_these(leaf)
            with_format(leaf)
        with_recipe(command, cmd_name)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant; an unknown one is refused with what it may have meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            from difflib import get_close_matches

            near = get_close_matches(name, self.list_commands(ctx), n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{guess}")
        return super().resolve_command(ctx, args)

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


def _leaves(command: Any) -> Iterator[Any]:
    """A command, or those of a group."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield command
        return
    for other in inside.values():
        yield from _leaves(other)


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: DebugOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Measure and edit the gender bias of code language models on the Hugging Face Hub."""
    from hfbiasedit.console import progress, set_verbosity

    context.call_on_close(set_verbosity)  # a program that calls this goes on as it was
    say_as_asked(debug=debug, quiet=quiet, verbose=verbose)
    if not sys.stderr.isatty():  # whatever takes long is heard of, also where nothing counts steps
        context.with_resource(progress(str(context.invoked_subcommand), None))


def main() -> None:
    """Run the command line; every failure ends as one line on standard error."""
    prepare_streams()
    # The installed libraries talk a lot; a run that they do not fail needs none of it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        with stopping() as signals, starting():
            try:
                app()
            finally:
                sys.stdout.flush()
    except SystemExit as stop:
        if stop.code == 130:  # typer's answer to Ctrl-C, which says nothing
            sys.stderr.write("terminated\n" if signals else "interrupted\n")
            raise SystemExit(128 + signals[0] if signals else 130) from None
        raise
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing more to say, and nothing to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("HFBIASEDIT_DEBUG"):
            import traceback

            traceback.print_exc()
        status = getattr(error, "exit_code", 1)
        if not processes.is_said_here(error):
            sys.exit(status)
        _fail(explain(error), status)


def _fail(text: str, status: int) -> None:
    sys.stderr.write(f"error: {' '.join(text.split())}\n")
    sys.exit(status)
