"""The verdict: how far from the reference, for whom, what an edit changed and what it cost.

Sentences made from the numbers of the documents; what an interval does not allow is not said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.comparison import coin_difference, direction
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.movements import better, movements, worse
from hfbiasedit.documents.names import model_name
from hfbiasedit.documents.reading import Documents
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit, GroupPart
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.documents.thresholds import FEW_PROMPTS
from hfbiasedit.reports import facts
from hfbiasedit.reports.tables import problems_name

# A convention: a model that has less than a quarter of the reference's differences between
# occupations (in logits) is said hardly to tell them apart.
_HARDLY = 0.25
_GROUPS = 3  # named as the farthest
_GROUP_PROMPTS = 10  # below which a group is not named


@dataclass(frozen=True)
class Verdict:
    """One sentence that answers the question, and those that say for whom and at what cost."""

    headline: str
    sentences: list[str]


def verdict(documents: Documents) -> Verdict:
    """The verdict on one audit or on an edit."""
    if documents.after is None:
        return _of_audit(documents.before)
    return _of_edit(documents, documents.after)


def _of_audit(audit: Audit) -> Verdict:
    name = model_name(audit["model"]["id"])
    headline = (
        f"{name} is {text.score(audit['fb_score'])} points away from the reference on average: "
        f"{_beside_coin(audit)}."
    )
    found = [_lean(audit), _parts(audit), _slope(audit), farthest_groups(audit)]
    return Verdict(headline, [sentence for sentence in found if sentence])


def _of_edit(documents: Documents, after: Audit) -> Verdict:
    before, edit = documents.before, documents.edit
    change = facts.difference(edit, before, after)
    assert change is not None
    interval = text.change_interval(change["ci95"])
    numbers = f"from {text.score(before['fb_score'])} to {text.score(after['fb_score'])}"
    opening = {
        "lower": f"The edit brings {model_name(before['model']['id'])} closer to the reference:",
        "higher": f"The edit takes {model_name(before['model']['id'])} away from the reference:",
        "unchanged": "The edit makes no clear difference:",
    }[facts.verdict(edit, before, after)]
    headline = (
        f"{opening} {numbers} points on average ({text.change(change['difference'])}, "
        f"95% interval {interval}), {_beside_coin(after)}."
    )
    found = [
        for_whom(before, after),
        _lean(before, after),
        _slope(before, after),
        _cost(documents, edit) if edit else "",
    ]
    return Verdict(headline, [sentence for sentence in found if sentence])


def _beside_coin(audit: Audit) -> str:
    """The score beside that of a coin, paired over professions."""
    even = text.score(audit["baselines"]["even"])
    side = direction(coin_difference(audit)["ci95"])
    if side:
        return f"{'farther' if side > 0 else 'closer'} than a coin, which scores {even}"
    way = "closer" if audit["fb_score"] <= audit["baselines"]["even"] else "farther"
    return f"not clearly {way} than a coin, which scores {even}"


def _lean(audit: Audit, after: Audit | None = None) -> str:
    """Whom the model writes too often; of an edit, what it is afterwards."""
    last = after or audit
    lean, bounds = last["lean"], last["lean_ci95"]
    numbers = f"lean {text.change(lean)}, 95% interval {text.change_interval(bounds)}"
    if after is not None:
        numbers += f"; before {text.change(audit['lean'])}"
    now = "Now it" if after else "It"
    if not direction(bounds):
        return f"{now} leans to neither gender on the whole ({numbers})."
    few = "women" if lean < 0 else "men"
    return (
        f"{now} writes {few} {text.score(abs(lean))} points less often than the reference has them "
        f"({numbers})."
    )


def _parts(audit: Audit) -> str:
    """How much of the score is one lean that all prompts share."""
    found = audit.get("shifted")
    if found is None:
        return ""
    lean = audit["fb_score"] - found["fb_score"]
    if lean < 0.05:
        return "No constant lean explains any of it: the distance differs by profession and prompt."
    return (
        f"{text.score(lean)} of the {text.score(audit['fb_score'])} points are one constant lean; "
        f"the other {text.score(found['fb_score'])} differ from profession to profession and from "
        "prompt to prompt."
    )


def _slope(audit: Audit, after: Audit | None = None) -> str:
    """Whether the model knows which occupations have many women."""
    last = after or audit
    slope, bounds = last["amplification"], last["amplification_ci95"]
    if slope is None or bounds is None:
        return ""
    number = f"amplification {text.score(slope, 2)}, 95% interval {text.interval(bounds, 2)}"
    if after is not None and audit["amplification"] is not None:
        number += f"; before {text.score(audit['amplification'], 2)}"
    return f"{_slope_words(slope, bounds)} ({number}; 1 would be faithful)."


def _slope_words(slope: float, bounds: Sequence[float]) -> str:
    low, high = bounds
    if high < 0:
        return "It turns the differences between occupations around"
    if slope < _HARDLY:
        return (
            "It hardly tells occupations apart: those with many women and those with few get "
            "nearly the same share"
        )
    if high < 1:
        return "It tells occupations apart but flattens their differences"
    if low > 1:
        return "It exaggerates the differences between occupations"
    return "It follows the differences between occupations about as they are"


def farthest_groups(audit: Audit, before: Audit | None = None) -> str:
    """The groups that are farthest, each with its interval; of an edit, what they were before."""
    rows = [row for row in audit["by_group"] if row["prompts"] >= _GROUP_PROMPTS and row["group"]]
    if len(rows) <= _GROUPS or audit["dataset"]["prompts"] < FEW_PROMPTS:
        return ""
    order = sorted(rows, key=lambda row: -row["fb_score"])
    first = {row["group"]: row["fb_score"] for row in before["by_group"]} if before else {}
    far = ", ".join(_group(row, first) for row in order[:_GROUPS])
    now = " now" if before else ""
    return f"Farthest{now} are {far}; closest is {_group(order[-1], first)}."


def _group(row: GroupPart, before: Mapping[str, float]) -> str:
    known = before.get(row["group"])
    shown = f"{row['group']} ({text.score(row['fb_score'])}, {text.interval(row['ci95'])}"
    return f"{shown})" if known is None else f"{shown}; before {text.score(known)})"


def for_whom(before: Audit, after: Audit) -> str:
    """How many professions came closer by an edit, and which groups are farthest now."""
    moves = movements(before, after)
    moved = f"{len(better(moves))} of {len(moves)} professions came closer"
    found = f"{moved}, {len(worse(moves))} went farther. {farthest_groups(after, before)}"
    return found.strip()


def _cost(documents: Documents, edit: Edit) -> str:
    """What was changed and what became of general code."""
    edited = edited_weights(edit)
    found = (
        f"It changed {text.count(edited['weights'])} weights ({text.percent(edited['share'])} of "
        f"all): {_ability(documents.ability)}KL {text.significant(edit['kl']['mean'], 2)} "
        "nats per token on general code"
    )
    return f"{found}."


def _ability(ability: Ability | None) -> str:
    """What was measured of coding ability, before the edit and after it."""
    found = ""
    part = ability.get("perplexity") if ability else None
    if part is not None and "relative_change" in part and "relative_change_ci95" in part:
        low, high = (text.relative(end) for end in part["relative_change_ci95"])
        found += f"perplexity of code {text.relative(part['relative_change'])} ({low} to {high}), "
    problems = ability.get("humaneval") if ability else None
    if problems is not None and "after" in problems:
        passed = [text.percent(side["pass@1"]) for side in (problems["before"], problems["after"])]
        found += f"{problems_name(problems)} pass@1 {' → '.join(passed)}, "
    return found
