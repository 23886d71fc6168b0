"""Figures of an audit or an edit as functions, for notebooks as for the files of a run.

Each takes a directory (a run, or the output of `audit --out`), an audit's document or an
`AuditReport`, returns a matplotlib `Figure`, and draws into `ax` where one is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.movements import Movement, better, movements, worse
from hfbiasedit.documents.names import model_name, split_name
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hfbiasedit.figures.heatmap import Cells
    from hfbiasedit.figures.scores import Row
    from hfbiasedit.figures.shares import Panel

Source: TypeAlias = "Documents | Path | str | Mapping[str, Any] | Any"

_MOVED = 12  # professions shown of either direction
_LONGEST = 16  # templates shown


class NoSuchFigure(BiasEditError):
    """The documents do not hold what a figure shows."""


def shares(source: Source, *, ax: Axes | None = None) -> Figure:
    """The share of women each profession gets against the reference; of a run, before and after.

    The professions farthest from the reference are named, by estimates that know how many prompts
    are behind them. With `ax`, a run shows what came out of the edit.
    """
    from hfbiasedit.figures.shares import draw_shares

    documents = documents_of(source)
    panels = [_panel(documents, title, audit) for title, audit in documents.audits]
    with style.settings():
        if ax is not None:
            return draw_shares(panels[-1:], axes=[ax])
        return draw_shares(panels)


def arrows(source: Source, *, ax: Axes | None = None) -> Figure:
    """The professions that an edit moved most, closer to the reference and farther from it.

    Raises:
        NoSuchFigure: nothing was edited, or nothing moved.
    """
    from hfbiasedit.figures.arrows import Arrow, draw_arrows

    documents = documents_of(source)
    if documents.after is None:
        raise NoSuchFigure("one audit has nothing that moved; give the directory of a run")
    moves = movements(documents.before, documents.after)
    closer, farther = better(moves), worse(moves)

    def arrow(move: Movement, away: bool) -> Arrow:
        shares = move.share_female, move.share_before, move.share_after
        return Arrow(move.profession, move.prompts, *shares, away)

    shown = [arrow(move, True) for move in farther[:_MOVED]]
    shown += [arrow(move, False) for move in closer[:_MOVED]]
    if not shown:
        raise NoSuchFigure("no profession moved by as much as can be shown")
    counts = len(closer), len(farther)
    with style.settings():
        return draw_arrows(shown, counts, ax=ax)


def splits(source: Source, *, ax: Axes | None = None) -> Figure:
    """FB-Scores of an edit on prompts that it saw and on those that it never saw.

    Raises:
        NoSuchFigure: nothing was edited, or its document names no splits.
    """
    from hfbiasedit.figures.scores import Row, Score, draw_scores

    documents = documents_of(source)
    if documents.edit is None or not documents.edit["splits"]:
        raise NoSuchFigure("there is no edit with splits here; give the directory of a run")
    rows = [
        Row(
            split_name(name),
            split["prompts"],
            Score(split["fb_before"], *split["ci95_before"]),
            Score(split["fb_after"], *split["ci95_after"]),
        )
        for name, split in documents.edit["splits"].items()
    ]
    with style.settings():
        return draw_scores(rows, ax=ax)


def groups(source: Source, *, ax: Axes | None = None) -> Figure:
    """FB-Scores of the groups of occupations, the highest first.

    Raises:
        NoSuchFigure: the audit knows of fewer than two groups.
    """
    return _parts(source, "group", ax)


def templates(source: Source, *, ax: Axes | None = None) -> Figure:
    """FB-Scores of the templates, the highest first, at most sixteen.

    Raises:
        NoSuchFigure: the audit knows of fewer than two templates.
    """
    return _parts(source, "template", ax)


def histogram(source: Source, *, ax: Axes | None = None) -> Figure:
    """How far single prompts are from the reference; of a run, before and after."""
    from hfbiasedit.figures.histogram import draw_histogram

    documents = documents_of(source)
    before = documents.before["histogram"]
    after = documents.after["histogram"]["by_polarity"] if documents.after else None
    counts = before["by_polarity"]
    with style.settings():
        return draw_histogram(before["edges"], counts, after, ax=ax)


def heatmap(source: Source, *, ax: Axes | None = None) -> Figure:
    """FB-Score by template and group of occupations; with `ax`, a run shows what came out.

    Raises:
        NoSuchFigure: most cells would rest on fewer than five prompts, or there are more templates
            than a page is wide.
    """
    from hfbiasedit.figures.heatmap import draw_heatmap, is_readable

    documents = documents_of(source)
    panels = [(title, _cells(audit)) for title, audit in documents.audits]
    if not all(is_readable(cells) for _, cells in panels):
        raise NoSuchFigure(
            "most templates have fewer than five prompts about a group, or there are more than "
            "sixteen: no heat map of that can be read; draw groups and templates"
        )
    with style.settings():
        return draw_heatmap(panels if ax is None else panels[-1:], ax=ax)


def weights(source: Source) -> Figure:
    """Which layers and kinds of modules an edit touched.

    Raises:
        NoSuchFigure: nothing was edited.
    """
    from hfbiasedit.figures.weights import draw_weights

    documents = documents_of(source)
    if documents.edit is None:
        raise NoSuchFigure("there is no edit here; give the directory of a run")
    edited = edited_weights(documents.edit)
    blocks = ((row["layer"], row["weights"]) for row in edited["by_layer"])
    layers = [(layer, count) for layer, count in blocks if isinstance(layer, int)]
    modules = [(row["module"], row["weights"]) for row in edited["by_module"]]
    if not (layers and modules):
        raise NoSuchFigure("the edit touched no layers")
    with style.settings():
        return draw_weights(layers, modules)


def budgets(source: Source, *, ax: Axes | None = None) -> Figure:
    """What smaller and larger budgets would have reached.

    Raises:
        NoSuchFigure: nothing was edited, or one budget was tried.
    """
    from hfbiasedit.figures.budgets import Budget, draw_budgets

    edit = documents_of(source).edit
    if edit is None or not edit.get("curve"):
        raise NoSuchFigure("there is no edit here that tried several budgets")
    points = [
        Budget(point["weights"], point["dev_fb"], point["kl"], point["chosen"])
        for point in edit["curve"]
    ]
    with style.settings():
        return draw_budgets(points, edit["kl"]["budget"], ax=ax)


def documents_of(source: Source) -> Documents:
    """The documents behind a directory, an audit's document, or a report that holds one.

    Raises:
        BiasEditError: there are none.
    """
    if isinstance(source, Documents):
        return source
    if isinstance(source, (str, Path)):
        return open_documents(source)
    document = source.to_dict() if hasattr(source, "to_dict") else source
    if not isinstance(document, Mapping):
        raise BiasEditError("a figure is drawn from a directory, an audit's document or a report")
    return Documents(Path(), check_document(dict(document), Audit, "a report"))


def _panel(documents: Documents, title: str, audit: Audit) -> Panel:
    from hfbiasedit.figures.shares import Panel, Point

    points = [
        Point(
            row["profession"],
            row["share_female"],
            row["model_share"],
            row["n"],
            row.get("estimate", row["fb"]),
        )
        for row in audit["professions"]
    ]
    model = model_name(documents.before["model"]["id"])
    when = f"{title} the edit" if title else ""
    name = ", ".join(part for part in (model if title != "after" else "", when) if part)
    return Panel(f"{name}: FB-Score {audit['fb_score']:.1f}", points)


def _parts(source: Source, key: str, ax: Axes | None) -> Figure:
    from hfbiasedit.figures.scores import draw_scores

    documents = documents_of(source)
    rows = _rows(documents, key)
    if len(rows) < 2:
        raise NoSuchFigure(f"the audit holds no scores by {key} to compare")
    with style.settings():
        return draw_scores(rows[:_LONGEST], ax=ax)


def _rows(documents: Documents, key: str) -> list[Row]:
    """Parts of the prompts, the highest score first (of a run: after the edit)."""
    from hfbiasedit.figures.scores import Row, Score

    def scores(audit: Any) -> dict[str, tuple[Score, int]]:
        return {
            row[key]: (Score(row["fb_score"], *row["ci95"]), row["prompts"])
            for row in audit[f"by_{key}"]
        }

    first = scores(documents.before)
    second = scores(documents.after) if documents.after else {}
    rows = [
        Row(name or "(none)", prompts, before, second[name][0] if name in second else None)
        for name, (before, prompts) in first.items()
    ]
    return sorted(rows, key=lambda row: -(row.after or row.before).value)


def _cells(audit: Audit) -> Cells:
    from hfbiasedit.figures.heatmap import Cell

    return {
        (row["template"], row["group"]): Cell(row["fb_score"], row["prompts"])
        for row in audit["by_template_group"]
    }
