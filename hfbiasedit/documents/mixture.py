"""Whether the documents in a directory belong together: one model, one patch, one set of prompts.

Their numbers must agree as well, with each other and with what the patch says of itself.

Reports and cards put numbers of several files beside each other, and one of them may have been
replaced. Documents of versions that recorded fewer digests are compared in those that they have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hfbiasedit.checkpoints.header import parse_json, read_header
from hfbiasedit.documents import runs
from hfbiasedit.documents.structures.ability_document import Ability
from hfbiasedit.documents.structures.audit_document import Audit
from hfbiasedit.documents.structures.edit_document import Edit
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import sha256_file

_ROUNDING = 1e-3  # points; documents may hold rounded scores


def check_run(
    directory: Path, before: Audit, after: Audit, edit: Edit, ability: Ability | None
) -> None:
    """Refuse a run of which a document is about another model, patch or set of prompts.

    Numbers that contradict those of another document or of the patch are refused as well.

    Raises:
        BiasEditError: one is or does; the message names the file.
    """
    first, second = directory / runs.AUDIT_BEFORE, directory / runs.AUDIT_AFTER
    for path, audit in ((first, before), (second, after)):
        _check_model(path, audit["model"], edit["model"], "the edit's")
        if audit["model"]["dtype"] != edit["model"]["dtype"]:
            raise _mixed(path, f"measured in {audit['model']['dtype']}, and the edit was made in "
                         f"{edit['model']['dtype']}")  # fmt: skip
        _check_setup(path, audit, "the edit's")
    if before["patch"] is not None:
        raise _mixed(first, "of a model with a patch, and should be of the original")
    if after["patch"] != edit["patch"]["digest"]:
        raise _mixed(second, "of another patch than the edit's")
    if after["prompts_digest"] != before["prompts_digest"] or after["dataset"] != before["dataset"]:
        raise _mixed(second, f"of other prompts than {runs.AUDIT_BEFORE}")
    if before["prompts_digest"] != edit.get("prompts_digest", before["prompts_digest"]):
        raise _mixed(first, "of other prompts than the edit was judged on")
    if ability is not None:
        path = directory / runs.ABILITY
        _check_model(path, ability["model"], edit["model"], "the edit's")
        _check_rounding(path, ability["model"], None, "the edit's")
        if ability["patch"] not in (None, edit["patch"]["digest"]):
            raise _mixed(path, "of another patch than the edit's")
    _check_scores(directory, "before", before, edit)
    _check_scores(directory, "after", after, edit)
    _check_counts(directory, edit)


def _check_scores(
    directory: Path, side: Literal["before", "after"], audit: Audit, edit: Edit
) -> None:
    """Refuse an audit whose score is not the one that the edit tells of for the same prompts.

    Editions of `edit.json` without a digest of the prompts may tell of other prompts.
    """
    split = edit["splits"].get(audit["dataset"]["split"])
    if split is None or edit.get("prompts_digest") != audit["prompts_digest"]:
        return
    score, told = audit["fb_score"], split["fb_before" if side == "before" else "fb_after"]
    if abs(score - told) > _ROUNDING:
        name = runs.AUDIT_BEFORE if side == "before" else runs.AUDIT_AFTER
        raise _contradiction(
            directory / name,
            f"has an FB-Score of {score:.2f}, and {runs.EDIT} tells of {told:.2f} for its prompts",
        )


def _check_counts(directory: Path, edit: Edit) -> None:
    """Refuse numbers of an edit that contradict each other or the header of its patch."""
    path, edited = directory / runs.EDIT, edit.get("edited")
    layers = edited["by_layer"] if edited else []
    if edited and layers and edited["weights"] != (parts := sum(row["weights"] for row in layers)):
        raise _contradiction(
            path, f"counts {edited['weights']} edited weights, and {parts} in its layers"
        )
    found, told = _contents_of(directory / runs.PATCH), edit["patch"]
    if found is None:
        return
    if (told["tensors"], told["weights"]) != (found.tensors, found.weights):
        raise _contradiction(
            path,
            f"tells of {told['weights']} weights in {told['tensors']} tensors, and {runs.PATCH} "
            f"holds {found.weights} in {found.tensors}",
        )
    if edited and not found.places <= edited["weights"] <= found.weights:
        raise _contradiction(
            path,
            f"counts {edited['weights']} edited weights, and {runs.PATCH} holds {found.weights} "
            f"in {found.places} places",
        )
    if found.granularity not in (None, edit["granularity"]):
        raise _contradiction(
            path,
            f"tells of granularity {edit['granularity']}, and {runs.PATCH} of {found.granularity}",
        )


@dataclass(frozen=True)
class _Contents:
    """What the header of a patch says: `places` are rows, single weights and whole tensors.

    In each of them at least one weight was changed.
    """

    tensors: int
    weights: int
    places: int
    granularity: Any


def _contents_of(path: Path) -> _Contents | None:
    """None of what is not there, or cannot be read: `check_patch` tells what is damaged."""
    try:
        header = read_header(path)
        described = parse_json(header.metadata["hfbiasedit"], path)
        kinds = {name: entry["kind"] for name, entry in described["tensors"].items()}
        shapes = {name: header.tensors[f"{name}.old"].shape for name in kinds}
    except (BiasEditError, KeyError, TypeError, AttributeError):
        return None
    return _Contents(
        len(kinds),
        sum(math.prod(shape) for shape in shapes.values()),
        sum(1 if kinds[name] == "whole" else shape[0] for name, shape in shapes.items()),
        described.get("granularity"),
    )


def check_audited(directory: Path, audit: Audit, ability: Ability | None) -> None:
    """The same for the output of an audit with a report on coding ability beside it."""
    if ability is None:
        return
    path = directory / runs.ABILITY
    _check_model(path, ability["model"], audit["model"], "the audit's")
    _check_rounding(path, ability["model"], audit["model"].get("quantization"), "the audit's")
    if ability["patch"] != audit["patch"]:
        raise _mixed(path, "of another patch than the audit's")


def check_patch(directory: Path, edit: Edit) -> None:
    """Refuse a run whose patch file is not the one that the edit wrote.

    Raises:
        BiasEditError: it has another size, or other bytes.
    """
    path, written = directory / runs.PATCH, edit["patch"]
    same = path.stat().st_size == written["bytes"]
    if same and "sha256" in written:
        same = sha256_file(path) == written["sha256"]
    if not same:
        raise BiasEditError(
            f"{path} is not the patch that this edit wrote, and the scores beside it are not its "
            "own; bring the file back, or edit again"
        )


def _check_model(path: Path, found: Model | None, wanted: Model, whose: str) -> None:
    if found is None:
        raise BiasEditError(
            f"{path} judges ready-made samples, which are of no known model; keep it elsewhere"
        )
    if "digest" in found and "digest" in wanted:
        same = found["digest"] == wanted["digest"]
    else:
        same = (found["id"], found["revision"]) == (wanted["id"], wanted["revision"])
    if not same:
        names = f"{_name(found)}, {whose} is {_name(wanted)}"
        raise _mixed(path, f"of another model than {whose} ({names})")


def _check_setup(path: Path, audit: Audit, whose: str) -> None:
    """An edit is judged in full precision and on the prompts as they are."""
    _check_rounding(path, audit["model"], None, whose)
    if audit.get("chat"):
        raise _mixed(path, f"asked through a chat template, and {whose} are not")


def _check_rounding(path: Path, found: Model | None, wanted: str | None, whose: str) -> None:
    rounded = None if found is None else found.get("quantization")
    if rounded != wanted:
        raise _mixed(path, f"of weights that are {_rounding(rounded)}, {whose} are "
                     f"{_rounding(wanted)}")  # fmt: skip


def _rounding(name: object) -> str:
    return "not quantised" if name is None else f"quantised ({name})"


def _name(model: Model) -> str:
    """Id and what tells two models of the same id apart."""
    known = model["revision"] or model.get("digest", "").partition(":")[2]
    return f"{model['id']} {known[:7]}".strip()


def _contradiction(path: Path, what: str) -> BiasEditError:
    return BiasEditError(f"{path} {what}: one of the two was changed; bring it back, or edit again")


def _mixed(path: Path, what: str) -> BiasEditError:
    return BiasEditError(f"{path} is {what}; take it out, or make it again")
