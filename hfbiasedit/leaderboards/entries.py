"""The audits that a leaderboard is made of, from files, directories, runs, or a dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.documents import runs
from hfbiasedit.documents.names import is_hub_id, model_name
from hfbiasedit.documents.public import public
from hfbiasedit.documents.reading import AUDIT, read_audit
from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.leaderboard_document import About, BoardAbility
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.reports.tables import is_humaneval

ABOUT = "about.json"
_NOT_MEASURED: BoardAbility = {"bits_per_byte": None, "text": None, "pass_at_1": None}
_LARGEST = 20 * 1024 * 1024  # bytes of a report; a dataset may hold anything


@dataclass(frozen=True)
class Entry:
    """One audit with what is known beside it. `name` is without the patch."""

    audit: Audit
    name: str
    note: str | None
    ability: BoardAbility

    @property
    def identity(self) -> str:
        """Equal for two measurements of the same weights in the same way."""
        model = self.audit["model"]
        return canonical_json(
            [self.weights, model["dtype"], model.get("quantization"), self.audit["patch"]]
        )

    @property
    def weights(self) -> str:
        """What tells the unpatched weights from others."""
        model = self.audit["model"]
        return model.get("digest") or f"{model['id']}@{model['revision']}"


def read_entries(source: str | Path) -> list[Entry]:
    """The audits that one argument stands for.

    Args:
        source: a report file, the output of `audit --out`, a run directory (before and after), a
            folder of such at any depth, or a dataset on the Hub (`owner/name`) that holds audits.

    Raises:
        BiasEditError: there is none, or one is damaged.
    """
    path = Path(source).expanduser()
    if not path.exists():
        if not is_hub_id(str(source).partition("@")[0]):
            raise BiasEditError(
                f"{source} does not exist; give reports, folders of them, or a dataset (owner/name)"
            )
        from hfbiasedit.leaderboards.dataset import pull_audits

        path = pull_audits(str(source))
    found = _found(path)
    if not found:
        raise BiasEditError(
            f"{source} holds no audits; make one with: hfbiasedit audit MODEL --out DIR"
        )
    return found


def _found(path: Path) -> list[Entry]:
    if path.is_file():
        return [_entry(path, None, "before")]
    if (path / runs.AUDIT_BEFORE).is_file() and (path / runs.AUDIT_AFTER).is_file():
        ability = _ability(path)
        return [
            _entry(path / runs.AUDIT_BEFORE, ability, "before"),
            _entry(path / runs.AUDIT_AFTER, ability, "after"),
        ]
    if (path / AUDIT).is_file():
        return [_entry(path / AUDIT, _ability(path), "")]
    inner = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    folders = [entry for p in inner if p.is_dir() for entry in _found(p)]
    reports = [p for p in inner if p.suffix == ".json" and p.name != ABOUT and p.is_file()]
    return folders + [_entry(p, None, "") for p in reports]


def _entry(path: Path, ability: Ability | None, side: str) -> Entry:
    if path.stat().st_size > _LARGEST:
        raise BiasEditError(f"{path} is too large for an audit report; take it out")
    audit = read_audit(path)
    about = path.parent / ABOUT
    said = read_document(about, About) if about.is_file() else None
    audit = public(audit, audit["model"])
    return Entry(
        audit=audit,
        name=said["name"] if said else model_name(audit["model"]["id"]),
        note=(said["note"] or None) if said else None,
        ability=_measured(ability, side or ("after" if audit["patch"] else "before"), audit),
    )


def _ability(directory: Path) -> Ability | None:
    path = directory / runs.ABILITY
    return read_document(path, Ability) if path.is_file() else None


def _measured(document: Ability | None, side: str, audit: Audit) -> BoardAbility:
    """One side of a report on ability; nothing where it is about another model or patch."""
    found = _NOT_MEASURED.copy()
    if document is None or document["model"] is None:
        return found
    model, measured = audit["model"], document["model"]
    key = "digest" if "digest" in model and "digest" in measured else "revision"
    if model.get(key) != measured.get(key):
        return found
    if side == "after" and document["patch"] != audit["patch"]:
        return found
    perplexity, problems = document.get("perplexity"), document.get("humaneval")
    if perplexity is not None:
        one = perplexity["before"] if side == "before" else perplexity.get("after")
        if one is not None:
            found["bits_per_byte"] = math.log2(one["byte_perplexity"])
            found["text"] = perplexity["text"]["sha256"]
    if problems is not None and is_humaneval(problems):
        passed = problems["before"] if side == "before" else problems.get("after")
        found["pass_at_1"] = passed.get("pass@1") if passed else None
    return found
