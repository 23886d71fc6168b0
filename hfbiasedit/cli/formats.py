"""`--format table|json|quiet` of every command with a result, as the `hf` command line has it.

`json` is what `--json` prints. `quiet` prints the one thing that a script wants, such as a score or
the path of what was written (`console.result`), and says nothing but warnings besides.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer
import typer.main

from hfbiasedit.console import Format

_KEY = "hfbiasedit.format"


def with_format(command: Any) -> None:
    """Let a command that has `--json` take `--format` as well."""
    taken = {flag: parameter for parameter in command.params for flag in parameter.opts}
    if "--json" not in taken or "--format" in taken:
        return
    name, invoke = taken["--json"].name, command.invoke
    command.params.append(_parameter())

    def formatted(context: Any) -> Any:
        from hfbiasedit.cli.saying import say_as_asked
        from hfbiasedit.console import only_results

        wanted: Format = context.meta.get(_KEY, "table")
        if wanted == "quiet" and context.params[name]:
            raise typer.BadParameter("give either --json or --format quiet")
        context.params[name] = context.params[name] or wanted == "json"
        if wanted != "quiet":
            return invoke(context)
        say_as_asked(quiet=True)
        with only_results():
            return invoke(context)

    command.invoke = formatted


def _parameter() -> Any:
    app = typer.Typer(add_completion=False)

    @app.command()
    def carrier(
        printed_as: Annotated[
            str,
            typer.Option(
                "--format",
                help="table, json (as --json), or quiet: the result alone, such as a score or a "
                "path.",
                autocompletion=lambda: list(get_args(Format)),
            ),
        ] = "table",
    ) -> None: ...

    made = typer.main.get_command(app).params[0]
    made.callback, made.expose_value = _given, False
    return made


def _given(context: Any, parameter: Any, value: str) -> None:
    if value not in get_args(Format):
        raise typer.BadParameter(f"{value!r} is none of {', '.join(get_args(Format))}")
    context.meta[_KEY] = value
