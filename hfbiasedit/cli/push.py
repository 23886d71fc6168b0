"""`hfbiasedit push`: publish a run on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbiasedit.cli.options import JsonOption
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.publishing.config import PushConfig

if TYPE_CHECKING:
    from hfbiasedit.publishing.plan import Action, Plan
    from hfbiasedit.publishing.result import PushResult


def check(
    run: Path | None, repo: str, config: PushConfig, rehearsal: bool = False, **_: Any
) -> None:
    """Refuse what the command would refuse, as far as options and files tell.

    Args:
        run: None where it is not there yet. repo, config: as of the command.
        rehearsal: nothing will be published from here, so that neither network nor login matter.

    Raises:
        BiasEditError: the run is incomplete or a mixture, or nothing can be published from here.
        huggingface_hub.errors.HFValidationError: not a name of a repository.
    """
    from huggingface_hub.utils import validate_repo_id

    from hfbiasedit.documents.runs import Run
    from hfbiasedit.publishing.contents import check_run
    from hfbiasedit.publishing.publication import check_target
    from hfbiasedit.publishing.result import Target

    if run is not None:
        check_run(Run.open(run))
    validate_repo_id(repo)
    if not rehearsal:
        check_target(Target(repo, dry_run=config.dry_run))


@expanded
def push(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run directory, as `edit` and `demo` make it.", show_default=False
        ),
    ],
    repo: Annotated[
        str,
        typer.Argument(
            metavar="REPO", help="Repository, owner/name; created if missing.", show_default=False
        ),
    ],
    config: PushConfig,
    json: JsonOption = False,
) -> None:
    """Publish a run: the patched model, the patch or an adapter, with card and reports."""
    from hfbiasedit.console import print_json
    from hfbiasedit.console import result as done
    from hfbiasedit.publishing.push import push as publish

    result = publish(run, repo, config)
    done(address(result))
    if json:
        print_json({**result.to_dict(), "dry_run": config.dry_run})
    else:
        show_result(result, config.dry_run)


def address(result: PushResult) -> str:
    """Where the commit or the pull request is; of a push without one, the repository."""
    made = result.outcome
    return result.url if made is None else made.pr_url or made.url


def show_result(result: PushResult, dry_run: bool) -> None:
    """The file list of a dry run, or where the commit is (the address alone on stdout)."""
    from hfbiasedit.console import line, message

    plan = result.plan
    if dry_run:
        _show_plan(result)
    if not result.changed:
        message(f"{plan.repo_id} holds exactly this already; nothing to commit")
        line(result.url)
        return
    verb = "would be" if dry_run else "were"
    message(f"of {len(plan.files)} files {verb} {_counts(plan)}")
    if result.held is not None:
        where = "the pull request" if plan.create_pr else plan.repo_id
        number = len(result.held)
        message(
            f"{where} now holds {number} {'file' if number == 1 else 'files'} "
            f"({_size(sum(result.held.values()))})"
        )
    if result.outcome:
        line(address(result))


def _show_plan(result: PushResult) -> None:
    from rich.table import Table

    from hfbiasedit.console import table

    plan = result.plan
    state = "new repository" if plan.remote.head is None else f"on top of {plan.remote.head[:7]}"
    title = f"{plan.repo_id}, branch {plan.revision or 'main'}, {state}"
    if plan.create_pr:
        title += ", as a pull request"
    rows = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    rows.add_column("action")
    rows.add_column("size", justify="right")
    rows.add_column("file", overflow="fold")
    source = plan.copy_from.repo_id if plan.copy_from else ""
    for file in plan.files:
        note = f"  (from {source})" if file.action == "copy" else ""
        rows.add_row(file.action, _size(file.size), file.path + note)
    table(rows)


def _counts(plan: Plan) -> str:
    """How many files and bytes take which way."""
    words: dict[Action, str] = {
        "upload": "uploaded",
        "copy": "copied on the Hub",
        "delete": "deleted",
        "skip": "left as they are",
    }
    parts = []
    for action, text in words.items():
        number = sum(file.action == action for file in plan.files)
        if number:
            parts.append(f"{number} {text} ({_size(plan.total(action))})")
    return ", ".join(parts)


def _size(size: int) -> str:
    """Bytes for people: 1.2 MB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
