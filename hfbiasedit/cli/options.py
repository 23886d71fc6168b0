"""Parameters that several commands share and that are no field of an options class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Hub id (org/name or org/name@revision) or local checkpoint directory.",
        show_default=False,
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of MODEL on the Hub.")
]
OutOption = Annotated[Path | None, typer.Option(help="Directory to write.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
