"""`hfbiasedit card`: render the card and the report of a run again."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from hfbiasedit import console
from hfbiasedit.errors import BiasEditError
from hfbiasedit.publishing.config import BASE_MODEL


class What(str, Enum):
    """What the card is about."""

    model = "model"
    patch = "patch"


def card(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)
    ],
    what: Annotated[What, typer.Option(help="A card for the model or for the patch.")] = What.model,
    template: Annotated[
        Path | None, typer.Option(help="Your own jinja2 template for the card.")
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(help="Licence identifier of the Hub; default: that of the base model's card."),
    ] = None,
    repo_id: Annotated[
        str | None,
        typer.Option("--repo-id", help="Where it will be published, for the examples in the card."),
    ] = None,
    base_model: Annotated[str | None, typer.Option(help=BASE_MODEL)] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a README.md that somebody changed.")
    ] = False,
) -> None:
    """Render README.md, report.html and the figures of a run directory again."""
    from hfbiasedit.cards.model_card import is_own_card, write_card
    from hfbiasedit.documents.runs import CARD, Run
    from hfbiasedit.figures.run import write_figures
    from hfbiasedit.reports.html import write_report

    Run.open(run)  # before anything is drawn into it
    if template is not None and not template.is_file():
        raise BiasEditError(f"there is no template {template}; give a file with --template")
    if base_model is not None:
        from hfbiasedit.publishing.origin import name_base

        name_base(Run.open(run), base_model)
    own = is_own_card(run / CARD) and not overwrite
    figures = write_figures(run)
    path = run / CARD
    if own:
        console.warn(f"{path} was written or changed by hand and stays; replace it: --overwrite")
    else:
        write_card(run, what=what.value, template=template, license=license, repo_id=repo_id)
    report = write_report(run, figures=figures)
    typer.echo(path)
    typer.echo(report)
    console.message(f"{len(figures)} figures in {figures[0].parent}")
