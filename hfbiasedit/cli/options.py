"""Option types that several commands share, so that they read the same everywhere."""

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
DtypeOption = Annotated[
    str, typer.Option(help="auto (as the checkpoint stores it), float32, bfloat16 or float16.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
DeviceMapOption = Annotated[
    str | None,
    typer.Option(help="auto: spread a model that is larger than one device (needs accelerate)."),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that ships with MODEL.")
]
BatchSizeOption = Annotated[
    str, typer.Option(help="auto (halves when memory runs out) or a number of sequences.")
]
ReferenceOption = Annotated[
    str,
    typer.Option(
        help="What counts as reality: bls-2022, bls-2021, parity, or a CSV file with "
        "the columns profession, share_female."
    ),
]
PromptsOption = Annotated[
    Path | None, typer.Option(help="Your own prompts (JSONL in the record shape).")
]
ProfessionsOption = Annotated[
    Path | None, typer.Option(help="Only these professions (a text file, one a line).")
]
OutOption = Annotated[Path | None, typer.Option(help="Directory to write.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is random.")]
