"""What stands at the top of a page: what a reader must know before using the model.

Made from the numbers of the documents. How far rounding moves a score is part of the method and
stands there.
"""

from __future__ import annotations

from hfbiasedit.documents import formatting as text
from hfbiasedit.documents.comparison import coin_difference, direction
from hfbiasedit.documents.movements import Movement
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.thresholds import (
    FEW_PROFESSIONS,
    FEW_PROMPTS,
    LOW_MASS_SHARE,
    MASS_LOST,
    MUCH_WORSE,
    PERPLEXITY_RISE,
)

_NAMED = 5  # professions that became much worse, by name


def concerns(
    before: Audit, after: Audit, moves: list[Movement], ability: Ability | None
) -> list[str]:
    """Sentences, the weightiest first; none where there is nothing to warn of.

    Args:
        before: the audit of the base model. after: of the edited one.
        moves: the professions of both. ability: coding ability, where it was measured.
    """
    found = [
        _coin(after, "Even after the edit the model"),
        _low_mass(after),
        _slope(before["amplification"], after["amplification"]),
        _much_worse(moves),
        _lost_mass(before["gender_mass"], after["gender_mass"]),
        _perplexity(ability),
        _few(after),
        _smaller_batches(after),
    ]
    return [sentence for sentence in found if sentence]


def audit_concerns(audit: Audit) -> list[str]:
    """The same for a model that was measured and not edited."""
    quantised = audit["model"].get("quantization")
    found = [
        _coin(audit, "The model"),
        _low_mass(audit),
        _few(audit),
        f"The weights are quantised ({quantised}); the score is that of the rounded model."
        if quantised
        else "",
        _smaller_batches(audit),
    ]
    return [sentence for sentence in found if sentence]


def _coin(audit: Audit, who: str) -> str:
    even = audit["baselines"]["even"]
    if audit["fb_score"] <= even:
        return ""
    way = "farther from" if direction(coin_difference(audit)["ci95"]) > 0 else "no closer to"
    return (
        f"{who} is {way} the reference ({text.score(audit['fb_score'])}) than a coin "
        f"({text.score(even)})."
    )


def _low_mass(after: Audit) -> str:
    share = after["low_mass_share"]
    if share <= LOW_MASS_SHARE:
        return ""
    return (
        f"On {text.percent(share)} of the prompts the model gives gendered words less than 1% of "
        "the probability: it rarely writes a gender there, and the score says little about it."
    )


def _slope(before: float | None, after: float | None) -> str:
    """Differences between occupations that were exaggerated and are flattened now, or the like."""
    if before is None or after is None:
        return ""
    first, second = (round(value, 2) for value in (before, after))
    changed = f"Amplification goes from {text.score(first, 2)} to {text.score(second, 2)}"
    if second < 0 <= first:
        return f"{changed}: the edited model turns the differences between occupations around."
    if second < 1 < first:
        return f"{changed}: where the base exaggerates, the edited model flattens the differences."
    if first < 1 < second:
        return f"{changed}: where the base flattens, the edited model exaggerates the differences."
    return ""


def _much_worse(moves: list[Movement]) -> str:
    """Professions whose FB rose by more than `MUCH_WORSE` points; each with its prompts."""
    lost = sorted(
        (move for move in moves if move.fb_change > MUCH_WORSE),
        key=lambda move: (-move.change_estimate, move.profession),
    )
    if not lost:
        return ""
    named = [
        f"{move.profession} {text.score(move.fb_before, 0)} → {text.score(move.fb_after, 0)} "
        f"({move.prompts} prompt{'s' * (move.prompts != 1)})"
        for move in lost[:_NAMED]
    ]
    rest = f", and {len(lost) - len(named)} more" if len(lost) > len(named) else ""
    what = "profession is" if len(lost) == 1 else "professions are"
    return (
        f"{len(lost)} of {len(moves)} {what} farther from the reference by more than "
        f"{MUCH_WORSE:g} points: {', '.join(named)}{rest}."
    )


def _lost_mass(before: float, after: float) -> str:
    if not before or 1 - after / before <= MASS_LOST:
        return ""
    return (
        f"The model writes a gender less often than before: gender mass {text.percent(before)} → "
        f"{text.percent(after)} ({text.relative(after / before - 1)})."
    )


def _perplexity(ability: Ability | None) -> str:
    part = ability.get("perplexity") if ability else None
    if part is None or "relative_change" not in part or "relative_change_ci95" not in part:
        return ""
    if direction(part["relative_change_ci95"]) <= 0 or part["relative_change"] <= PERPLEXITY_RISE:
        return ""
    return f"Perplexity of real code rises by {text.relative(part['relative_change'])[1:]}."


def _few(after: Audit) -> str:
    prompts, professions = after["dataset"]["prompts"], after["dataset"]["professions"]
    if professions >= FEW_PROFESSIONS and prompts >= FEW_PROMPTS:
        return ""
    if professions == 1:
        return "A tiny sample: the prompts are about a single profession; there is no interval."
    return (
        f"A tiny sample: {text.count(prompts)} prompts about {text.count(professions)} "
        "professions; the interval is no better than that."
    )


def _smaller_batches(audit: Audit) -> str:
    if not audit["batch_plan"]["halvings"]:
        return ""
    return (
        "Memory ran out and batches were made smaller on the way: in low precision compare with "
        "audits of the same batch plan only."
    )
