"""`hfbiasedit ability`: what an edit costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.parameters import expanded


@expanded
def ability(
    config: AbilityConfig,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Hub id or local checkpoint directory; not needed with --samples.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the JSON document: a .json file, or a (run) directory for it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure general coding ability: perplexity, syntax, pass@k; before and after a patch."""
    if config.samples is not None and config.tasks == AbilityConfig().tasks:
        config = replace(config, tasks=("humaneval",))

    from hfbiasedit import console
    from hfbiasedit.abilities.measurement import measure_ability
    from hfbiasedit.abilities.summary import tables
    from hfbiasedit.documents import runs
    from hfbiasedit.files import write_json
    from hfbiasedit.outputs import probe_file

    path = out if out is None or out.suffix == ".json" else out / runs.ABILITY
    for wanted in (path, config.save_samples):
        if wanted is not None:
            probe_file(wanted)
    document = measure_ability(model, config)
    if path is not None:
        write_json(path, document)
        console.result(path)
        console.message(f"wrote {path}")
    if as_json:
        console.print_json(document)
        return
    for table in tables(document):
        console.table(table)
