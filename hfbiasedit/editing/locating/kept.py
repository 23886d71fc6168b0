"""Prices and scores as tensors by name, to be kept on disk and read again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from torch import Tensor

from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.saliency import Sums
from hfbiasedit.editing.material.price import Price


def kept_prices(kept: Kept, make: Callable[[], dict[str, Price]]) -> dict[str, Price]:
    """Prices of projections by name, kept or made now."""

    def tensors() -> dict[str, Tensor]:
        return {
            f"{name}/{end}": side.view(price.experts, -1)
            for name, price in make().items()
            for end, side in (("in", price.inputs), ("out", price.outputs))
        }

    found = kept.tensors("prices", tensors)
    names = [key.removesuffix("/in") for key in found if key.endswith("/in")]
    sides = {name: (found[f"{name}/in"], found[f"{name}/out"]) for name in names}
    return {
        name: Price(inputs.flatten(), outputs.flatten(), len(inputs))
        for name, (inputs, outputs) in sides.items()
    }


def kept_sums(kept: Kept, make: Callable[[], dict[str, Sums]]) -> dict[str, Sums]:
    """Scores of rows and columns by projection, kept or made now."""
    parts = ("rows", "peaks", "columns")

    def tensors() -> dict[str, Tensor]:
        return {
            f"{name}/{part}": getattr(sums, part) for name, sums in make().items() for part in parts
        }

    found = kept.tensors("scores", tensors)
    names = [key.removesuffix("/rows") for key in found if key.endswith("/rows")]
    return {name: Sums(*(found[f"{name}/{part}"] for part in parts)) for name in names}


def rows_digest(pool: Mapping[str, Tensor]) -> str:
    """A name for some rows of some projections."""
    digest = hashlib.sha256()
    for name in sorted(pool):
        digest.update(f"{name} {pool[name].tolist()}".encode())
    return digest.hexdigest()[:16]
