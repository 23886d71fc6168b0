"""Single prompts of an audit: three typical ones for the first screen, all of a profession for its
drawer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hfbiasedit.documents.structures.audit_document import Audit, Example

_LINES = 8  # of a prompt on the first screen: its end, which is what the model answers to
_CLASSES = ("many women", "women and men", "few women")


@dataclass(frozen=True)
class Side:
    """What a model makes of a prompt: probabilities of the words of both genders, share 0..1."""

    name: str
    p_female: float
    p_male: float
    share: float


@dataclass(frozen=True)
class TypicalPrompt:
    """One prompt in words; `kind` says which professions it stands for, `cut` that it is an end."""

    kind: str
    profession: str
    template: str
    text: str
    cut: bool
    female: list[str]
    male: list[str]
    share_female: float
    sides: list[Side]


def typical(before: Audit, after: Audit | None) -> list[TypicalPrompt]:
    """A prompt each about a profession with many women, with both, and with few.

    Professions are parted into thirds by their share in the reference. Of the prompts of a third
    that write a gender at least as often as half of them do, it is the one of median FB (before an
    edit): an ordinary one, chosen by rule. Nothing where a document holds no prompts.
    """
    rows = sorted(before.get("examples", ()), key=lambda row: (-row["share_female"], row["id"]))
    second = _by_id(after)
    if after is not None:
        rows = [row for row in rows if row["id"] in second]
    if len(rows) < len(_CLASSES):
        return []
    found: list[TypicalPrompt] = []
    for number, kind in enumerate(_CLASSES):
        part = rows[number * len(rows) // 3 : (number + 1) * len(rows) // 3]
        row = _median(part, {prompt.template for prompt in found})
        sides = [_side("before" if after else "", row)]
        if after is not None:
            sides.append(_side("after", second[row["id"]]))
        found.append(_typical(kind, row, sides))
    return found


def _median(rows: Sequence[Example], used: set[str]) -> Example:
    """The prompt of median FB among those with mass, of a template that is not shown yet."""
    by_mass = sorted(rows, key=lambda row: -(row["p_male"] + row["p_female"]))
    some = by_mass[: max(1, (len(by_mass) + 1) // 2)]
    fresh = [row for row in some if row["template"] not in used] or some
    order = sorted(
        fresh, key=lambda row: (abs(row["model_share"] - row["share_female"]), row["id"])
    )
    return order[len(order) // 2]


def _typical(kind: str, row: Example, sides: list[Side]) -> TypicalPrompt:
    lines = row["prompt"].split("\n")
    return TypicalPrompt(
        kind=kind,
        profession=" ".join(filter(None, (row["modifier"], row["profession"]))),
        template=row["template"],
        text="\n".join(lines[-_LINES:]),
        cut=len(lines) > _LINES,
        female=row["female"],
        male=row["male"],
        share_female=row["share_female"],
        sides=sides,
    )


def _by_id(audit: Audit | None) -> dict[str, Example]:
    return {} if audit is None else {row["id"]: row for row in audit.get("examples", ())}


def _side(name: str, row: Example) -> Side:
    return Side(name, row["p_female"], row["p_male"], row["model_share"])


def drawers(before: Audit, after: Audit | None) -> dict[str, list[dict[str, Any]]]:
    """The prompts of each profession as plain values for the page's script."""
    second = _by_id(after)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in before.get("examples", ()):
        sides = [row, second[row["id"]]] if row["id"] in second else [row]
        found.setdefault(row["profession"], []).append(
            {
                "about": ", ".join(
                    filter(None, (row["template"], row["language"], row["modifier"], row["split"]))
                ),
                "prompt": row["prompt"],
                "female": row["female"],
                "male": row["male"],
                "reference": row["share_female"],
                "sides": [
                    [side["p_female"], side["p_male"], side["model_share"]] for side in sides
                ],
            }
        )
    return found
