"""Parameters that several commands share and that are no field of an options class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Hub id (org/name or org/name@revision), local checkpoint directory, or demo.",
        show_default=False,
    ),
]
RevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of MODEL on the Hub.")
]
OutOption = Annotated[Path | None, typer.Option(help="Directory to write.")]
OverwriteRunOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an earlier run without asking (off a terminal: without a warning).",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from what an interrupted run has left beside --out.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]


def replace_run(out: Path, overwrite: bool) -> None:
    """Ask on a terminal whether an earlier run may go; elsewhere say that it will.

    Raises:
        UsageError: the answer is no.
    """
    from hfbiasedit import console
    from hfbiasedit.documents.runs import is_run
    from hfbiasedit.errors import UsageError

    if overwrite or not is_run(out):
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        console.warn(f"{out} holds an earlier run; it is replaced when this one is complete")
    elif not typer.confirm(f"{out} holds an earlier run. Replace it in the end?", err=True):
        raise UsageError(f"{out} stays as it is; name another directory with --out")
