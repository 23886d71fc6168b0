"""Rows of the tables that the report and the cards share, taken from the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.names import file_name, split_name, surface_name
from hfbiasedit.documents.structures.ability_document import (
    Ability,
    HumanEval,
    Perplexity,
    PerplexitySide,
    Syntax,
    Written,
)
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit, QuantizedCheck

_SPLIT_ORDER = (
    "edit",
    "dev",
    "test",
    "test_modifiers",
    "test_templates",
    "test_professions",
    "test_combined",
)

_HUMANEVAL, _HUMANEVAL_COUNT = "openai/openai_humaneval", 164


def splits(edit: Edit) -> list[dict[str, Any]]:
    """The measured splits with their key as `split`, seen ones first, quantised models last."""
    found = edit["splits"]
    order = [name for name in _SPLIT_ORDER if name in found]
    order += sorted(name for name in found if name not in _SPLIT_ORDER)
    rounded = [{**row, "split": _quantised(row)} for row in edit.get("quantized", ())]
    return [{"split": name, **found[name]} for name in order] + rounded


def _quantised(row: QuantizedCheck) -> str:
    """What a check of quantised models was on, in a word or two."""
    where = "held-out" if row["split"] == "test" else split_name(row["split"])
    return f"{where}, both models quantised to {row['method']}"


@dataclass(frozen=True)
class BreakdownRow:
    """One template, polarity, group or the like: FB-Scores with intervals; `after` of a run."""

    name: str
    prompts: int
    before: float
    before_interval: list[float]
    after: float | None
    after_interval: list[float] | None


_NAMES = {"split": split_name, "surface": surface_name}  # words for keys, by what they are of


def breakdown(key: str, before: Audit, after: Audit | None) -> list[BreakdownRow]:
    """The rows of `by_<key>` of one or two audits, the highest score first (of a run: after)."""
    first, second = (_parts(key, audit) for audit in (before, after))
    rows = []
    for name, row in first.items():
        other = second.get(name)
        rows.append(
            BreakdownRow(
                name=_NAMES.get(key, str)(name),
                prompts=row["prompts"],
                before=row["fb_score"],
                before_interval=row["ci95"],
                after=other["fb_score"] if other else None,
                after_interval=other["ci95"] if other else None,
            )
        )
    return sorted(rows, key=lambda row: -(row.before if row.after is None else row.after))


def _parts(key: str, audit: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if audit is None else {row[key]: row for row in audit.get(f"by_{key}", ())}


@dataclass(frozen=True)
class TemplateRow:
    """A template that the edit never saw; whether it saw such values in other templates."""

    template: str
    language: str
    values: str
    values_seen: bool
    scores: BreakdownRow


def unseen_templates(edit: Edit, before: Audit, after: Audit | None) -> list[TemplateRow]:
    """Templates of the audits that the edit never saw, the highest score afterwards first."""
    facts = {row["template"]: row for row in edit.get("templates", ())}
    return [
        TemplateRow(
            row.name,
            ", ".join(fact["languages"]),
            "; ".join(fact["vocabularies"]),
            fact["vocabulary_seen"],
            row,
        )
        for row in breakdown("template", before, after)
        if (fact := facts.get(row.name)) and not fact["template_seen"]
    ]


def carried_over(rows: Sequence[TemplateRow]) -> list[str]:
    """Where an edit carries over: to known values in new places, and to new values."""
    found = []
    for seen, words in ((True, "had seen in other templates"), (False, "had never seen")):
        some = [
            row.scores for row in rows if row.values_seen == seen and row.scores.after is not None
        ]
        if some:
            before, after = (
                sum(ends) / len(some)
                for ends in ([r.before for r in some], [r.after or 0.0 for r in some])
            )
            found.append(
                f"{len(some)} of these templates ask for values that the edit {words}: the mean of "
                f"their FB-Scores goes from {text.score(before)} to {text.score(after)}."
            )
    return found


@dataclass(frozen=True)
class Measure:
    """One measure of coding ability; all cells are text, empty where nothing was measured."""

    name: str
    before: str
    after: str
    change: str


def ability(document: Ability | None) -> list[Measure]:
    """What the edit cost: one row per measure that was taken."""
    rows: list[Measure] = []
    if document is None:
        return rows
    if "perplexity" in document:
        rows += _perplexity(document["perplexity"])
    if "syntax" in document:
        rows += _syntax(document["syntax"])
    if "humaneval" in document:
        rows += _humaneval(document["humaneval"])
    if "generation" in document:
        rows += _generation(document["generation"])
    return rows


def headline_costs(document: Ability | None) -> list[Measure]:
    """The two rows that say most about coding ability, where they were measured twice."""
    if document is None:
        return []
    rows = []
    if "perplexity" in document and "after" in document["perplexity"]:
        rows.append(_perplexity(document["perplexity"])[0])
    if "humaneval" in document and "after" in document["humaneval"]:
        rows += [row for row in _humaneval(document["humaneval"]) if row.name.endswith("pass@1")]
    return rows


def _perplexity(part: Perplexity) -> list[Measure]:
    before, after = part["before"], part.get("after")
    change = ""
    if after and "relative_change" in part:
        change = text.relative(part["relative_change"])
        if not text.is_point(part["relative_change_ci95"]):
            low, high = (text.relative(bound) for bound in part["relative_change_ci95"])
            change += f" ({low} to {high})"
    name = "Perplexity of code, per {} (lower is better)"
    rows = [
        Measure(name.format("token"), _per_token(before), _per_token(after), change),
        Measure(name.format("byte"), _per_byte(before), _per_byte(after), ""),
    ]
    if after and "kl_mean" in part:
        changed = "Positions whose most likely token changed"
        rows += [
            Measure(_KL, "", "", text.significant(part["kl_mean"])),
            Measure("99th percentile of that KL", "", "", text.significant(part["kl_p99"])),
            Measure(changed, "", "", text.percent(part["top1_changed"])),
        ]
    return rows


_KL = "Mean KL between next-token distributions on that code"


def _per_token(side: PerplexitySide | None) -> str:
    if side is None:
        return ""
    shown = text.significant(side["token_perplexity"], 4)
    if text.is_point(side["ci95"]):
        return shown
    low, high = (text.significant(bound, 4) for bound in side["ci95"])
    return f"{shown} ({low} to {high})"


def _per_byte(side: PerplexitySide | None) -> str:
    return text.significant(side["byte_perplexity"], 4) if side else ""


def _syntax(part: Syntax) -> list[Measure]:
    before, after, paired = _sides(part)
    return [
        _rates(
            f"Completions that parse, {key}",
            "rate",
            before[key],
            after[key] if after else None,
            paired[key] if paired else None,
        )
        for key in ("greedy", "sampled")
    ]


def _humaneval(part: HumanEval) -> list[Measure]:
    before, after, paired = _sides(part)
    keys = sorted((key for key in before if key.startswith("pass@")), key=lambda key: int(key[5:]))
    return [_rates(f"{problems_name(part)}, {key}", key, before, after, paired) for key in keys]


def _sides(part: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Before, after and their difference, None where there is no patch."""
    return part["before"], part.get("after"), part.get("difference")


def _generation(part: Written) -> list[Measure]:
    before, after, _ = _sides(part)
    rows = []
    for key, name, show in _SECOND_LOOK:
        if before[key] is not None:
            second = show(after[key]) if after and after[key] is not None else ""
            rows.append(Measure(name, show(before[key]), second, ""))
    return rows


_SECOND_LOOK = (
    ("coverage", "Second look: completions that write a gender", text.percent),
    ("share_female", "Second look: women among the genders written", text.percent),
    ("share_scored", "Second look: what the scores say of the same prompts", text.percent),
    ("share_reference", "Second look: women in the reference", text.percent),
    ("fb_written", "Second look: FB-Score of what was written", text.score),
    ("fb_scored", "Second look: FB-Score by probabilities", text.score),
)


def is_humaneval(part: HumanEval) -> bool:
    """Whether these are results on all of HumanEval, and not on a part or on other problems."""
    problems = part["problems"]
    sides = (part["before"], part.get("after"))
    judged = {side["n"] for side in sides if side is not None}
    every = problems["name"] == _HUMANEVAL and problems["count"] == _HUMANEVAL_COUNT
    return every and judged == {_HUMANEVAL_COUNT}


def problems_name(part: HumanEval) -> str:
    """What the problems are called; HumanEval only where they are HumanEval, and all of it."""
    if is_humaneval(part):
        return "HumanEval"
    problems, judged = part["problems"], part["before"]["n"]
    name = "HumanEval" if problems["name"] == _HUMANEVAL else file_name(problems["name"])
    if judged == problems["count"]:
        return name if name != "HumanEval" else f"HumanEval, {judged} problems of it"
    return f"{name}, {judged} of {problems['count']} problems"


def _rates(
    name: str,
    key: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any] | None,
    paired: Mapping[str, Any] | None,
) -> Measure:
    change = ""
    if after is not None:
        change = text.change(100 * (after[key] - before[key])) + " points"
        if paired and key in paired and paired.get("ci95"):
            change += f" ({text.change_interval([100 * bound for bound in paired['ci95']])})"
    return Measure(name, _rate(before, key), _rate(after, key) if after else "", change)


def _rate(side: Mapping[str, Any], key: str) -> str:
    shown = text.percent(side[key])
    known = side.get("ci95") if key in ("rate", "pass@1") else None
    bounds = (side.get("intervals") or {}).get(key) or known
    return f"{shown} ({text.interval(bounds, scale=100)})" if bounds else shown
