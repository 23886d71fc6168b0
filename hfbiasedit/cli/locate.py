"""`hfbiasedit locate`: where the bias sits."""

from __future__ import annotations

from typing import Annotated

import typer

from hfbiasedit.cli.options import JsonOption, ModelArgument, OutOption
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.editing.config import LocateConfig


@expanded
def locate(
    model: ModelArgument,
    config: LocateConfig,
    top: Annotated[int, typer.Option(help="Rows to print.", min=1)] = 10,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank blocks, matrices and rows by how much they carry the bias."""
    from hfbiasedit import console
    from hfbiasedit.editing.judging.overview import location_document, location_tables
    from hfbiasedit.editing.locating import locator
    from hfbiasedit.outputs import output_directory, probe_new_directory

    if out is not None:
        probe_new_directory(out)
    found = locator.locate(model, config)
    document = location_document(found, top)
    if out is not None:
        with output_directory(out, keep=True) as folder:
            found.save(folder)
        console.message(f"wrote {out}")
    for row in document["rows"]:
        console.result(f"{row['tensor']}:{row['row']}")
    if as_json:
        console.print_json(document)
        return
    for table in location_tables(document):
        console.table(table)
