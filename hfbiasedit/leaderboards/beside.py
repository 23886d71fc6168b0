"""What may lie beside an audit: the model's name, its coding ability, the edit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hfbiasedit.documents import runs
from hfbiasedit.documents.counts import edited_weights
from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.documents.structures.leaderboard_document import About, BoardAbility, BoardEdit
from hfbiasedit.reports.tables import is_humaneval

ABOUT = "about.json"
ABILITIES = "ability*.json"  # what was measured at different times may stand in several files


def read_about(folder: Path) -> About | None:
    """What to call the model and what to know of it, in the words of whoever shares the audit."""
    path = folder / ABOUT
    return read_document(path, About) if path.is_file() else None


def read_abilities(folder: Path) -> list[Ability]:
    """All reports on coding ability of a directory, by name."""
    return [read_document(path, Ability) for path in sorted(folder.glob(ABILITIES))]


def edit_of(folder: Path, audit: Audit) -> BoardEdit | None:
    """The edit behind an audit, where `edit.json` is there and of the same patch."""
    path = folder / runs.EDIT
    if audit["patch"] is None or not path.is_file():
        return None
    edit = read_document(path, Edit)
    if edit["patch"]["digest"] != audit["patch"]:
        return None
    edited = edited_weights(edit)
    granularity = edit["granularity"]
    return {"granularity": granularity, "weights": edited["weights"], "share": edited["share"]}


def measured(documents: Sequence[Ability], side: str, audit: Audit) -> BoardAbility:
    """One side of reports on ability (`before` or `after` an edit).

    What is about another model or patch is not taken, nor what a model wrote through its chat
    template beside an audit without.
    """
    found: BoardAbility = {"bits_per_byte": None, "text": None, "pass_at_1": None}
    for document in documents:
        if _is_about(document, side, audit):
            _fill(found, document, side, asked_alike=_chats(document) == _chats(audit))
    return found


def _is_about(document: Ability, side: str, audit: Audit) -> bool:
    model, other = audit["model"], document["model"]
    if other is None:
        return False
    key = "digest" if "digest" in model and "digest" in other else "revision"
    same = all(model.get(name) == other.get(name) for name in (key, "quantization"))
    return same and (side == "before" or document["patch"] == audit["patch"])


def _chats(document: Audit | Ability) -> bool:
    return bool(document.get("chat"))


def _fill(found: BoardAbility, document: Ability, side: str, asked_alike: bool) -> None:
    perplexity, problems = document.get("perplexity"), document.get("humaneval")
    if perplexity is not None and found["text"] is None:
        one = perplexity["before"] if side == "before" else perplexity.get("after")
        if one is not None:
            found["bits_per_byte"] = math.log2(one["byte_perplexity"])
            found["text"] = perplexity["text"]["sha256"]
    # Perplexity is that of texts as they are; only what is written depends on who asks.
    if not asked_alike or problems is None or not is_humaneval(problems):
        return
    if found["pass_at_1"] is None:
        passed = problems["before"] if side == "before" else problems.get("after")
        found["pass_at_1"] = passed.get("pass@1") if passed else None
