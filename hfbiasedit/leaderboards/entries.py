"""The audits that a leaderboard is made of, from files, directories, runs, or a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.documents import runs
from hfbiasedit.documents.names import is_hub_id, model_name
from hfbiasedit.documents.public import public
from hfbiasedit.documents.reading import AUDIT, read_audit
from hfbiasedit.documents.setups import setup_label, setup_words
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.leaderboard_document import BoardAbility, BoardEdit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json
from hfbiasedit.leaderboards.beside import ABOUT, edit_of, measured, read_abilities, read_about

_LARGEST = 20 * 1024 * 1024  # bytes of a report; a dataset may hold anything


@dataclass(frozen=True)
class Entry:
    """One audit with what is known beside it. `name` is without the patch."""

    audit: Audit
    name: str
    note: str | None
    ability: BoardAbility
    edit: BoardEdit | None

    @property
    def identity(self) -> str:
        """Equal for two measurements of the same weights in the same way."""
        return self._identity(self.audit["patch"])

    @property
    def base_identity(self) -> str:
        """The identity of the model without its patch, measured in the same way."""
        return self._identity(None)

    def _identity(self, patch: str | None) -> str:
        ways = setup_words(self.audit)  # quantised, through a chat, by another backend
        return canonical_json([self.weights, self.audit["model"]["dtype"], ways, patch])

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
        return [_entry(path, [], "before")]
    sides = {runs.AUDIT_BEFORE: "before", runs.AUDIT_AFTER: "after"}
    here = {path / name: side for name, side in sides.items() if (path / name).is_file()}
    if not here and (path / AUDIT).is_file():
        here = {path / AUDIT: ""}
    if here:
        abilities = read_abilities(path)
        return [_entry(file, abilities, side) for file, side in here.items()]
    inner = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    folders = [entry for p in inner if p.is_dir() for entry in _found(p)]
    reports = [p for p in inner if p.suffix == ".json" and p.name != ABOUT and p.is_file()]
    return folders + [_entry(p, [], "") for p in reports]


def _entry(path: Path, abilities: Sequence[Ability], side: str) -> Entry:
    if path.stat().st_size > _LARGEST:
        raise BiasEditError(f"{path} is too large for an audit report; take it out")
    audit = read_audit(path)
    said = read_about(path.parent)
    audit = public(audit, audit["model"])
    return Entry(
        audit=audit,
        name=said["name"] if said else model_name(audit["model"]["id"]) + setup_label(audit),
        note=(said["note"] or None) if said else None,
        ability=measured(abilities, side or ("after" if audit["patch"] else "before"), audit),
        edit=edit_of(path.parent, audit),
    )
