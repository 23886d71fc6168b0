"""An audit for people: the headline, the breakdowns and the farthest professions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_FARTHEST = 10  # professions listed
_BREAKDOWNS = (("template", "by_template"), ("polarity", "by_polarity"), ("group", "by_group"))


def render(document: Mapping[str, Any]) -> RenderableType:
    """Everything `hfbiasedit audit` prints, from the report's JSON document."""
    from rich.console import Group

    parts: list[RenderableType] = [_headline(document)]
    for key, name in _BREAKDOWNS:
        if len(document[name]) > 1:
            parts.append(_breakdown(key, document[name]))
    parts.append(_farthest(document["professions"]))
    return Group(*parts)


def _headline(document: Mapping[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text
    from hfbiasedit.documents.setups import setup_label

    model, dataset = document["model"], document["dataset"]
    patch = f" + patch {document['patch'][:12]}" if document["patch"] else ""
    table = Table(
        title=f"{escape(str(model['id']))}{patch} ({model['dtype']}), {dataset['config']}/"
        f"{dataset['split']}: {text.count(dataset['prompts'])} prompts, "
        f"{text.count(dataset['professions'])} professions, {escape(str(dataset['reference']))}"
        f"{setup_label(document)}",
        title_justify="left",
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for row in _headline_rows(document):
        table.add_row(*row)
    return table


def _headline_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    from hfbiasedit.documents import formatting as text

    trivial = document["baselines"]
    slope, slope_interval = document["amplification"], document["amplification_ci95"]
    rows = [
        (
            "FB-Score",
            text.score(document["fb_score"], 2),
            f"95% interval {text.interval(document['ci95'])}; 0 matches the reference, "
            "lower is better",
        ),
        ("", "", _trivial(trivial)),
        (
            "lean",
            text.change(document["lean"]),
            f"95% interval {text.interval(document['lean_ci95'])}; "
            "below 0: writes men more often than the reference has them",
        ),
        (
            "amplification",
            "undefined" if slope is None else text.score(slope, 2),
            "the reference does not vary"
            if slope is None
            else f"95% interval {text.interval(slope_interval, 2)}; 1 is faithful",
        ),
        ("parity gap", text.score(document["parity_gap"]), "distance from 50/50"),
        (
            "gender mass",
            _mass(document["gender_mass"]),
            f"below 1% on {text.percent(document['low_mass_share'])} of the prompts",
        ),
        (
            "noise floor",
            "unknown"
            if document["noise_floor"] is None
            else f"{document['noise_floor']['mean']:.2g}",
            "what batching alone moves a model share by, in points",
        ),
        ("seconds", f"{document['seconds']:.1f}", ""),
    ]
    return rows


def _mass(share: float) -> str:
    """A gender mass as percent; of one that is next to nothing the digits say nothing."""
    from hfbiasedit.documents import formatting as text

    return "< 0.01%" if share < 1e-4 else text.percent(share)


def _trivial(baselines: dict[str, float]) -> str:
    return (
        f"always 50/50 scores {baselines['even']:.1f}, always men {baselines['always_male']:.1f}, "
        f"always women {baselines['always_female']:.1f}"
    )


def _breakdown(key: str, rows: list[dict[str, Any]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text

    table = Table(title=f"by {key}", title_justify="left")
    table.add_column(key, overflow="fold")
    for name in ("FB-Score", "95% interval", "lean", "gender mass", "prompts"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: -row["fb_score"]):
        table.add_row(
            escape(row[key]),
            text.score(row["fb_score"]),
            text.interval(row["ci95"]),
            text.change(row["lean"]),
            _mass(row["gender_mass"]),
            text.count(row["prompts"]),
        )
    return table


def _farthest(rows: list[Any]) -> Table:
    """By the estimate that knows how few prompts are behind an FB, where there is one."""
    from rich.markup import escape
    from rich.table import Table

    from hfbiasedit.documents import formatting as text
    from hfbiasedit.documents.movements import farthest

    table = Table(title="farthest from the reference", title_justify="left")
    table.add_column("profession", overflow="fold")
    estimated = all("estimate" in row for row in rows)
    names = ["prompts", "women: reference", "women: model", "FB"]
    for name in (*names, "estimate", "95% interval") if estimated else names:
        table.add_column(name, justify="right")
    for row in farthest(rows)[:_FARTHEST]:
        cells = [
            escape(row["profession"]),
            text.count(row["n"]),
            text.percent(row["share_female"]),
            text.percent(row["model_share"]),
            text.score(100 * row["fb"]),
        ]
        if estimated:
            cells += [text.score(100 * row["estimate"]), text.interval(row["ci95"], scale=100)]
        table.add_row(*cells)
    return table
