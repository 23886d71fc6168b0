"""`hfbiasedit run`: a whole path from one YAML file."""

from __future__ import annotations

import contextlib
import io
import json as reading
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from hfbiasedit import console
from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.recipes import Step, check_steps, command_of, read_recipe
from hfbiasedit.documents.public import command_line


def run(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE",
            help="YAML file with model, out, and sections audit, edit, ability, card, push, "
            "whose keys are those commands' options.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe and print its commands.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run a recipe: audit, edit, ability, card and push from one YAML file.

    Everything in it is checked before the first step begins; unknown keys are refused.
    """
    steps = read_recipe(recipe)
    check_steps(steps, dry_run=dry_run)
    lines = [command_line([step.name, *step.words]) for step in steps]
    done = []
    for step, line in zip(steps, lines, strict=True):
        if dry_run:
            document = None
        elif json:
            document = _document(step)
        else:
            console.message(line)
            _run(step, [])
            document = None
        done.append({"command": line, "result": document})
    if json:
        console.print_json({"recipe": str(recipe), "dry_run": dry_run, "steps": done})
    elif dry_run:
        for line in lines:
            console.result(line)
            console.line(line)


def _document(step: Step) -> Any:
    """What a step prints with --json."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        _run(step, ["--json"])
    return reading.loads(printed.getvalue())


def _run(step: Step, more: list[str]) -> None:
    command = command_of(step.name)
    with _as_if_typed([step.name, *step.words]):
        with command.make_context(step.name, [*step.words, *more]) as context:
            command.invoke(context)


@contextlib.contextmanager
def _as_if_typed(words: list[str]) -> Iterator[None]:
    """What a run notes about how it was made is the step's command, which others can repeat."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
