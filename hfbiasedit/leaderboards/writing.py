"""`leaderboard`: audits in, a page and a Parquet file out; published as a static Space."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.documents.structures.leaderboard_document import Leaderboard
from hfbiasedit.errors import UsageError
from hfbiasedit.leaderboards.board import make_board
from hfbiasedit.leaderboards.entries import read_entries
from hfbiasedit.leaderboards.page import render_page
from hfbiasedit.leaderboards.table import parquet
from hfbiasedit.outputs import output_directory, probe_directory
from hfbiasedit.replacing import Kind, refuse_other

if TYPE_CHECKING:
    from hfbiasedit.publishing.result import PushResult

PAGE, TABLE, CARD = "index.html", "leaderboard.parquet", "README.md"
_BOARD = Kind("a leaderboard", {PAGE, TABLE}.__contains__, error=UsageError)
TITLE = "Gender bias of code models"


def leaderboard(
    sources: Sequence[str | Path], *, out: str | Path | None = None, title: str = TITLE
) -> Leaderboard:
    """Put audits side by side: ranked by FB-Score, neighbours compared profession by profession.

    The audits that most have their prompts and reference in common are ranked; the others are
    listed apart with the reason.

    Args:
        sources: report files, outputs of `audit --out`, run directories, folders of such, or
            datasets on the Hub that hold audits (`owner/name`).
        out: directory for `index.html` and `leaderboard.parquet`; None: nothing is written.
        title: of the page.

    Raises:
        UsageError: no sources. BiasEditError: one holds no audits, or `out` holds other things.
    """
    if not sources:
        raise UsageError("a leaderboard needs audits: report files, folders or a dataset")
    if out is not None:
        check_output(out)
    board = make_board([entry for source in sources for entry in read_entries(source)], title)
    if out is not None:
        with output_directory(Path(out), replace=True) as folder:
            write_board(board, folder)
    return board


def check_output(out: str | Path) -> None:
    """Refuse a directory that holds something else than a leaderboard.

    Raises:
        BiasEditError: it does, or nothing can be written there.
    """
    probe_directory(out)
    refuse_other(Path(out), _BOARD)


def write_board(board: Leaderboard, folder: Path) -> None:
    """Write the page and the Parquet file into a directory."""
    (folder / PAGE).write_text(render_page(board), encoding="utf-8")
    (folder / TABLE).write_bytes(parquet(board))


def push_leaderboard(
    board: Leaderboard,
    space: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
) -> PushResult:
    """Publish a leaderboard as a static Space in one commit; the same again makes none.

    Args:
        board: made by `leaderboard`. space: `owner/name`; created if missing.
        private: make a new Space private. create_pr: open a pull request instead.
        overwrite: also replace files that this program did not write. dry_run: plan only.

    Raises:
        BiasEditError: the Space holds something else.
        huggingface_hub.errors.HfHubHTTPError: see `hub.failures.explain`.
    """
    from hfbiasedit.publishing.publication import Publisher
    from hfbiasedit.publishing.result import Target

    target = Target(
        space,
        kind="space",
        what="leaderboard",
        private=private,
        create_pr=create_pr,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    publisher = Publisher(target)
    with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as name:
        folder = Path(name)
        write_board(board, folder)
        (folder / CARD).write_text(_card(board), encoding="utf-8")
        files = {name: folder / name for name in (PAGE, TABLE, CARD)}
        ranked = sum(row["reason"] is None for row in board["rows"])
        return publisher.publish(files, f"Leaderboard: {ranked} models")


def _card(board: Leaderboard) -> str:
    """What the Hub reads of a Space: that it is static, and what the page is."""
    import yaml

    header = {
        "title": board["title"],
        "sdk": "static",
        "app_file": PAGE,
        "pinned": False,
        "tags": ["leaderboard", "gender-bias", "code", "hfbiasedit"],
    }
    dataset = board["dataset"]
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n"
        f"FB-Scores of code models on CodeGenBias {dataset['config']}/{dataset['split']}, "
        f"reference {dataset['reference']}; written by `hfbiasedit leaderboard`. "
        f"All numbers: `{TABLE}`.\n"
    )
