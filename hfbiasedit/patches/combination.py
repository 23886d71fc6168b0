"""Patches made from patches: scaled, reversed, combined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hfbiasedit.checkpoints.dtypes import all_finite, from_float64, to_float64
from hfbiasedit.errors import BiasEditError, listed
from hfbiasedit.patches.edits import Block, TensorEdit, smallest
from hfbiasedit.patches.value import PatchValue, Value


def scaled(patch: Value, factor: float) -> Value:
    """New values old + factor * (new - old) in float64, rounded; see `Patch.scale`."""
    if not math.isfinite(factor):
        raise BiasEditError(f"the scale must be a finite number, not {factor}")
    if factor == 1.0:
        return patch
    tensors = {}
    for name in patch.tensors:
        edit = _scaled_edit(patch.tensors[name], factor)
        if edit is not None:
            tensors[name] = edit
        patch.release()
    if not tensors:
        raise BiasEditError(f"scaled by {factor} the patch changes nothing; use another scale")
    known = patch.metadata.get("scale")  # of a patch that was scaled before
    whole = factor * known if isinstance(known, int | float) else factor
    return type(patch)(tensors, _unmeasured(patch) | {"scale": whole}, patch.warnings)


def _unmeasured(patch: PatchValue) -> dict[str, object]:
    """Metadata without the scores, which are of the patch as it was made."""
    metadata: dict[str, object] = patch.metadata
    edit = metadata.get("edit")
    if isinstance(edit, dict):
        metadata["edit"] = {key: value for key, value in edit.items() if key != "scores"}
    return metadata


def _scaled_edit(edit: TensorEdit, factor: float) -> TensorEdit | None:
    new = np.empty_like(edit.new_bits)
    step = max(1, (1 << 20) // max(1, math.prod(edit.old_bits.shape[1:])))
    for start in range(0, len(new), step):
        part = slice(start, start + step)
        old = to_float64(edit.old_bits[part], edit.dtype)
        target = to_float64(edit.new_bits[part], edit.dtype)
        new[part] = from_float64(old + factor * (target - old), edit.dtype)
    if not all(all_finite(part, edit.dtype) for part in edit.pieces(new)):
        raise BiasEditError(f"scaled by {factor} a weight of {edit.name} overflows; scale less")
    differs = new != edit.old_bits
    if not differs.any():
        return None
    if edit.kind == "whole":
        return replace(edit, new_bits=new)
    assert edit.positions is not None
    keep = differs.any(axis=1) if edit.kind == "rows" else differs
    return replace(
        edit, positions=edit.positions[keep], old_bits=edit.old_bits[keep], new_bits=new[keep]
    )


def reversed_patch(patch: Value) -> Value:
    """Old and new exchanged; what speaks of the old side is dropped: hashes, the base's name."""
    tensors = {
        name: replace(edit, old_bits=edit.new_bits, new_bits=edit.old_bits, sha256=None)
        for name, edit in ((name, patch.tensors[name]) for name in patch.tensors)
    }
    metadata = _unmeasured(patch)
    for key in ("base_model", "base_revision"):
        metadata.pop(key, None)
    return type(patch)(tensors, metadata, patch.warnings)


def combined(patches: Sequence[Value]) -> Value:
    """One patch doing what all do; see `Patch.combine`."""
    merged: dict[str, TensorEdit] = {}
    conflicts: list[str] = []
    for patch in patches:
        for name in patch.tensors:
            edit = patch.tensors[name]
            if name not in merged:
                merged[name] = edit
                continue
            both = _merged(merged[name], edit)
            if both is None:
                conflicts.append(name)
            else:
                merged[name] = both
    if conflicts:
        where = listed(sorted(set(conflicts)), 5)
        raise BiasEditError(f"the patches want different values in {where}; they do not combine")
    return type(patches[0])(merged, _agreed(patches), patches[0].warnings)


def _agreed(patches: Sequence[PatchValue]) -> dict[str, object]:
    """Metadata that all patches share; what only some say would be wrong for the whole."""
    first, *others = (patch.metadata for patch in patches)
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def _merged(one: TensorEdit, other: TensorEdit) -> TensorEdit | None:
    """Both edits of one tensor as one; None when they disagree."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return None
    left, right = _flat(one), _flat(other)
    flat = np.concatenate([left.flat, right.flat])
    old = np.concatenate([left.old, right.old])
    new = np.concatenate([left.new, right.new])
    order = np.argsort(flat, kind="stable")
    flat, old, new = flat[order], old[order], new[order]
    twice = np.flatnonzero(flat[1:] == flat[:-1])
    if (old[twice] != old[twice + 1]).any() or (new[twice] != new[twice + 1]).any():
        return None
    keep = np.ones(flat.size, dtype=bool)
    keep[twice + 1] = False
    digest = one.sha256 if one.sha256 == other.sha256 else None
    tied = tuple(sorted({*one.tied, *other.tied}))
    base = replace(one, sha256=digest, tied=tied)
    return smallest(base, flat[keep], old[keep], new[keep])


def _flat(edit: TensorEdit) -> Block:
    return Block(*(np.concatenate(part) for part in zip(*edit.blocks(), strict=True)))
