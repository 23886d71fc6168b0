"""`hfbiasedit ability`: what an edit costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.parameters import expanded


def check(
    config: AbilityConfig, model: str | None = None, out: Path | None = None, **_: Any
) -> None:
    """Refuse what the command would refuse, as far as options and files tell.

    Raises:
        BiasEditError: an option or a file cannot be used.
    """
    from hfbiasedit.abilities.measurement import check_ability

    _destination(out, config)
    check_ability(model, _judging(config))


def _judging(config: AbilityConfig) -> AbilityConfig:
    """Ready-made samples are judged where no other task is named."""
    if config.samples is not None and config.tasks == AbilityConfig().tasks:
        return replace(config, tasks=("humaneval",))
    return config


def _destination(out: Path | None, config: AbilityConfig) -> Path | None:
    """The file that the document goes to; refuses what could not be written in the end."""
    from hfbiasedit.documents import runs
    from hfbiasedit.outputs import probe_file

    path = out if out is None or out.suffix == ".json" else out / runs.ABILITY
    for wanted in (path, config.save_samples):
        if wanted is not None:
            probe_file(wanted)
    return path


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
    from hfbiasedit import console
    from hfbiasedit.abilities.measurement import measure_ability
    from hfbiasedit.abilities.summary import tables
    from hfbiasedit.files import write_json

    path = _destination(out, config)
    document = measure_ability(model, _judging(config))
    if path is not None:
        write_json(path, document)
        console.result(path)
        console.message(f"wrote {path}")
    if as_json:
        console.print_json(document)
        return
    for table in tables(document):
        console.table(table)
