"""`hfbiasedit edit`: locate, edit, and write a run directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hfbiasedit.cli.options import (
    JsonOption,
    ModelArgument,
    OverwriteRunOption,
    ResumeOption,
    replace_run,
)
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.editing.config import EditConfig


def check(model: str, config: EditConfig, out: Path, **_: Any) -> None:
    """Refuse what the command would refuse, as far as options and files tell.

    Raises:
        BiasEditError: an option or a file cannot be used.
    """
    from hfbiasedit.editing.editor import check_edit

    check_edit(model, config, out)


@expanded
def edit(
    model: ModelArgument,
    config: EditConfig,
    out: Annotated[Path, typer.Option(help="Run directory to write.")] = Path("hfbiasedit-run"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost; loads no weights.")
    ] = False,
    resume: ResumeOption = False,
    overwrite: OverwriteRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a model closer to the reference by editing few weights; writes a run directory."""
    from hfbiasedit import console, processes
    from hfbiasedit.abilities import summary
    from hfbiasedit.documents.public import command_line
    from hfbiasedit.editing import editor
    from hfbiasedit.editing.judging import outcome

    if dry_run:
        _forecast(model, config, as_json)
        return
    # Of several processes only the first one speaks; they have not joined yet.
    replace_run(out, overwrite or os.environ.get("RANK", "0") != "0")
    run = editor.edit(model, config, out=out, command=command_line(sys.argv[1:]), resume=resume)
    if processes.rank() != 0:
        return  # one of several processes; the first one writes and speaks
    document = run.edit
    console.result(run.path)
    if as_json:
        console.print_json(document)
        return
    console.table(outcome.table(document))
    for line in (*outcome.sentences(document), *summary.sentences(run.ability)):
        console.message(line)
    console.message(f"wrote {run.path}")


def _forecast(model: str, config: EditConfig, as_json: bool) -> None:
    from hfbiasedit import console
    from hfbiasedit.editing.forecasting import forecaster, words
    from hfbiasedit.errors import BiasEditError

    document = forecaster.forecast(model, config)
    console.result("fits" if document["fits"] else "does not fit")
    if as_json:
        console.print_json(document)
    else:
        for table in words.tables(document):
            console.table(table)
        for line in words.sentences(document):
            console.message(line)
    if not document["fits"]:
        raise BiasEditError(f"does not fit: {document['reason']}")
