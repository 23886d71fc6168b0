"""Whether a patch fits a checkpoint, and whether it is applied there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbiasedit.checkpoints import marks
from hfbiasedit.checkpoints.storage import Checkpoint, has_only_bin
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.rewriting import restored_pieces
from hfbiasedit.patches.targets import Shards, Target, states, targets
from hfbiasedit.patches.twins import refuse_untying

_STATES = {
    (True, False): "not applied",
    (False, True): "applied",
    (True, True): "unchanged",  # the edit of this tensor changes no bit
    (False, False): "neither",
}


@dataclass(frozen=True)
class VerifyReport:
    """What a checkpoint holds where a patch edits it.

    state: `applied`, `not applied`, `mixed` (some tensors are, some not) or `neither`.
    base: `identical` when the unedited weights of the edited tensors are those of the base too,
        `differs` when some are not, `unknown` when the patch has no hashes to tell.
    """

    state: str
    base: str
    tensors: Mapping[str, str]
    differing: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the patch can be applied or taken back."""
        return self.state in ("applied", "not applied")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "state": self.state,
            "fits": self.fits,
            "base": self.base,
            "tensors": dict(self.tensors),
            "differing": list(self.differing),
        }


def verify_patch(
    model_dir: str | Path, patch: Patch | str | Path, *, scale: float = 1.0
) -> VerifyReport:
    """Compare a checkpoint with both sides of a patch; reads only the edited tensors.

    Raises:
        BiasEditError: tensors are missing or of another shape or dtype, the patch is damaged or
            would untie tied weights, or a change in place of this checkpoint was interrupted.
    """
    path = Path(model_dir)
    marks.refuse_pending(path)
    if has_only_bin(path):
        raise BiasEditError(
            f"{path} has only .bin weights, which are compared while `patch apply` converts them"
        )
    if not isinstance(patch, Patch):
        patch = Patch.load(patch)
    patch = patch.scale(scale)
    checkpoint = Checkpoint.open(path)
    where = targets(checkpoint, patch)
    found = {target.label: _STATES[state] for target, state in states(path, patch, where)}
    kinds = set(found.values()) - {"unchanged"}
    if "neither" in kinds:
        overall = "neither"
    else:
        overall = "mixed" if len(kinds) > 1 else next(iter(kinds), "not applied")
    if overall == "not applied":
        refuse_untying(checkpoint, {target.name for target in where})
    differing: list[str] = []
    hashed = 0
    if overall in ("applied", "not applied"):
        for target in where:
            edit = patch.tensors[target.edit]
            if edit.sha256 is not None:
                hashed += 1
                if _base_hash(path, target, edit) != edit.sha256:
                    differing.append(target.label)
    base = "differs" if differing else "identical" if hashed == len(where) else "unknown"
    return VerifyReport(overall, base, found, tuple(differing))


def _base_hash(path: Path, target: Target, edit: TensorEdit) -> str:
    """SHA-256 of the tensor as it was before the edit, whether or not that is applied."""
    digest = hashlib.sha256()
    with Shards(path) as shards:
        for piece in restored_pieces(shards[target.file], target.info, edit):
            digest.update(piece)
    return digest.hexdigest()
