"""`hfbiasedit card`: render the card and the report of a run again, or publish an audit."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from hfbiasedit import console
from hfbiasedit.cli.options import JsonOption
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.publishing.config import BASE_MODEL


class What(str, Enum):
    """What the card is about."""

    model = "model"
    patch = "patch"


def check(
    run: Path | None,
    template: Path | None = None,
    license: str | None = None,
    repo_id: str | None = None,
    **_: Any,
) -> None:
    """Refuse what the command would refuse, as far as options and files tell.

    Args:
        run: None where it is not there yet. template, license, repo_id: as of the command.

    Raises:
        BiasEditError: there is no such run, template or licence.
        HFValidationError: no repository's name.
    """
    from hfbiasedit.documents.reading import AUDIT
    from hfbiasedit.documents.runs import Run

    if template is not None and not template.is_file():
        raise BiasEditError(f"there is no template {template}; give a file with --template")
    if repo_id is not None:
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(repo_id)
    of_audit = run is not None and (run / AUDIT).is_file()
    if run is not None and not of_audit:
        Run.open(run)
    if license is not None and not of_audit:
        from hfbiasedit.cards.model_card import check_licence

        check_licence(license, run)


def card(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|AUDIT",
            help="A run directory, or the output of `audit --out`.",
            show_default=False,
        ),
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
    push: Annotated[
        str | None,
        typer.Option(
            metavar="REPO",
            help="Of an audit: add a section to the card of the measured model, and an evaluation "
            "file; a pull request where you may not write.",
        ),
    ] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="With --push: a pull request in any case.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --push: list what would be written.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Render README.md, report.html and the figures of a run again; publish an audit on its model.

    Of an audit (of a model that was not edited) the section for the model's card is printed, or
    put there with --push.
    """
    from hfbiasedit.documents.reading import AUDIT

    check(run, template, license, repo_id)
    if (run / AUDIT).is_file():
        if (template, license, base_model, what) != (None, None, None, What.model):
            raise UsageError(
                "--what, --template, --license and --base-model are for the card of a run"
            )
        _audit(run, push or None, repo_id, create_pr, dry_run, json)
    elif push is not None or create_pr or dry_run:
        raise UsageError(
            f"--push is for the output of an audit; publish a run with: hfbiasedit push {run} REPO"
        )
    else:
        if base_model is not None:
            from hfbiasedit.documents.runs import Run
            from hfbiasedit.publishing.origin import name_base

            name_base(Run.open(run), base_model)
        _run(run, what.value, template, license, repo_id, overwrite, json)


def _audit(
    directory: Path,
    push: str | None,
    repo_id: str | None,
    create_pr: bool,
    dry_run: bool,
    json: bool,
) -> None:
    from hfbiasedit.audits.sharing.model_page import measured, push_audit
    from hfbiasedit.cards.audit_section import render_section

    if push is None:
        section = render_section(measured(directory), repo_id)
        if json:
            console.print_json({"section": section})
        else:
            typer.echo(section, nl=False)
        return
    from hfbiasedit.cli.push import address, show_result

    result = push_audit(directory, push, create_pr=create_pr, dry_run=dry_run)
    console.result(address(result))
    if json:
        console.print_json({**result.to_dict(), "dry_run": dry_run})
    else:
        show_result(result, dry_run)


def _run(
    run: Path,
    what: str,
    template: Path | None,
    license: str | None,
    repo_id: str | None,
    overwrite: bool,
    json: bool,
) -> None:
    from hfbiasedit.cards.model_card import is_own_card, write_card
    from hfbiasedit.documents.runs import CARD
    from hfbiasedit.figures.run import write_figures
    from hfbiasedit.reports.html import write_report

    own = is_own_card(run / CARD) and not overwrite
    figures = write_figures(run)
    path = run / CARD
    if own:
        console.warn(f"{path} was written or changed by hand and stays; replace it: --overwrite")
    else:
        write_card(run, what=what, template=template, license=license, repo_id=repo_id)
    report = write_report(run, figures=figures)
    console.result(path)
    if json:
        drawn = [str(figure) for figure in figures]
        console.print_json(
            {"card": str(path), "kept": own, "report": str(report), "figures": drawn}
        )
        return
    console.line(path)
    console.line(report)
    console.message(f"{len(figures)} figures in {figures[0].parent}")
