"""`hfbiasedit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit import console
from hfbiasedit.cli.options import JsonOption, OverwriteRunOption, replace_run
from hfbiasedit.cli.parameters import Only, expanded
from hfbiasedit.editing.config import EditConfig

DEFAULT_OUT = Path("biasedit-demo")


@expanded
def demo(
    config: Annotated[EditConfig, Only(("granularity",))],
    out: Annotated[Path, typer.Option(help="Run directory to write.")] = DEFAULT_OUT,
    overwrite: OverwriteRunOption = False,
    json: JsonOption = False,
) -> None:
    """Audit and edit the small model that ships with the package; offline, a minute or two."""
    from hfbiasedit.abilities import summary
    from hfbiasedit.demonstration import demo as run_demo
    from hfbiasedit.editing.judging import outcome

    replace_run(out, overwrite)
    run = run_demo(out, config.granularity)
    console.result(run.path)
    if json:
        console.print_json(run.edit)
        return
    console.table(outcome.table(run.edit))
    for line in outcome.sentences(run.edit):
        console.message(line)
    for line in summary.sentences(run.ability):
        console.message(line)
    console.message(f"\nEverything is in {run.path}; open {run.path / 'report.html'} in a browser.")
    console.message("Next, look at the patch, or log in (hf auth login) and publish it:\n")
    console.message(f"  hfbiasedit patch show {run.patch_path}")
    console.message(f"  hfbiasedit push {run.path} me/demo-model --what patch --dry-run\n")
