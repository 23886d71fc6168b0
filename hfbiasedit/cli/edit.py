"""`hfbiasedit edit`: locate, edit, and write a run directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.cli.options import JsonOption, ModelArgument, OverwriteRunOption, replace_run
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.editing.config import EditConfig


@expanded
def edit(
    model: ModelArgument,
    config: EditConfig,
    out: Annotated[Path, typer.Option(help="Run directory to write.")] = Path("hfbiasedit-run"),
    overwrite: OverwriteRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a model closer to reality by editing few weights; writes a run directory."""
    from hfbiasedit import console
    from hfbiasedit.documents.public import command_line
    from hfbiasedit.editing import editor, processes
    from hfbiasedit.editing.judging import outcome

    # Of several processes only the first one speaks; they have not joined yet.
    replace_run(out, overwrite or os.environ.get("RANK", "0") != "0")
    run = editor.edit(model, config, out=out, command=command_line(sys.argv[1:]))
    if processes.rank() != 0:
        return  # one of several processes; the first one writes and speaks
    document = run.edit
    if as_json:
        console.print_json(document)
        return
    console.table(outcome.table(document))
    for line in outcome.sentences(document):
        console.message(line)
    console.message(f"wrote {run.path}")
