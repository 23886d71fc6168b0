"""What a patch contains, counted for people and for JSON."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hfbiasedit.patches.edits import TensorEdit
from hfbiasedit.patches.value import PatchValue

_NUMBER = re.compile(r"\.(\d+)\.")


def summarise(patch: PatchValue, parameters: int | None = None) -> dict[str, Any]:
    """Counts of a patch: `digest`, `tensors` (count), `changed` (edited weights: their bits
    differ), `weights` (values held, of edited rows all), `rows`, `entries`, `whole`, `bytes` (of
    values and positions), `metadata`, `details` (one entry per tensor). Of edited weights are
    `dtypes`, `layers` (by block number), `modules` (by name inside the block) and, when
    `parameters` are given, `share`, the part of those.
    """
    counts: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    details = []
    for name in sorted(patch.tensors):
        edit = patch.tensors[name]
        layer, module = place(name)
        changed = edit.changed
        layers[layer] += changed
        modules[module] += changed
        dtypes[edit.dtype] += changed
        counts["weights"] += edit.weights
        counts["changed"] += changed
        counts["rows"] += edit.slices
        counts["entries"] += edit.weights if edit.kind == "entries" else 0
        counts["whole"] += edit.kind == "whole"
        counts["bytes"] += _size(edit)
        details.append(_detail(edit, changed))
        patch.release()
    names = ("weights", "changed", "rows", "entries", "whole", "bytes")
    summary: dict[str, Any] = {"digest": patch.digest, "tensors": len(details)}
    summary |= {key: counts[key] for key in names}
    summary |= {
        "dtypes": dict(sorted(dtypes.items())),
        "layers": dict(sorted(layers.items(), key=_layer_order)),
        "modules": dict(sorted(modules.items())),
        "metadata": patch.metadata,
        "details": details,
    }
    if parameters:
        summary["share"] = counts["changed"] / parameters
    return summary


def place(name: str) -> tuple[str, str]:
    """(block number or "", name without it) of a stored tensor.

    >>> place("model.layers.3.mlp.down_proj.weight")
    ('3', 'mlp.down_proj')
    """
    match = _NUMBER.search(name)
    if match is None:
        return "", name.removesuffix(".weight")
    return match.group(1), re.sub(r"\.\d+\.", ".*.", name[match.end() :]).removesuffix(".weight")


def _layer_order(item: tuple[str, int]) -> tuple[bool, int]:
    return item[0] != "", int(item[0] or 0)


def _size(edit: TensorEdit) -> int:
    positions = 0 if edit.positions is None else edit.positions.nbytes
    return positions + edit.old_bits.nbytes + edit.new_bits.nbytes


def _detail(edit: TensorEdit, changed: int) -> dict[str, Any]:
    return {
        "name": edit.name,
        "kind": edit.kind,
        "axis": edit.axis,
        "shape": list(edit.shape),
        "dtype": edit.dtype,
        "positions": edit.weights if edit.positions is None else len(edit.positions),
        "weights": edit.weights,
        "changed": changed,
        "share": changed / edit.numel,
    }
