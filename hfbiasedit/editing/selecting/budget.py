"""How much of a model an edit may touch: a count, or a share of the items or of all weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hfbiasedit.errors import UsageError

OF_WEIGHTS = " of weights"


@dataclass(frozen=True)
class Budget:
    """At most so many items of `of`, and at most so many scalars."""

    items: int
    of: int
    weights: float


def parse_budget(text: str, of: int, weights: int, parameters: int, noun: str = "items") -> Budget:
    """A count, a share of a level's items, or a share of the model's weights.

    `64` are 64 of the `of` items; `0.5%` is that share of them and of the `weights` they are made
    of; `0.5% of weights` is as many items as the model's `parameters` allow, large or small ones.
    `noun` is what they are called.

    Raises:
        UsageError: none of these, zero, or more than there is.
    """
    text = str(text).strip()
    number = text.removesuffix(OF_WEIGHTS).rstrip()
    try:
        share = float(number[:-1]) / 100 if number.endswith("%") else None
        items = int(text) if share is None else math.floor(share * of + 1e-9)
    except (ValueError, OverflowError):
        raise UsageError(
            f"budget {text!r} is not a count (64), a share of a level's items (0.5%) or of the "
            "model's weights (0.5% of weights)"
        ) from None
    if share is not None and not 0 < share <= 1:
        raise UsageError(f"budget {text} is not above 0% and at most 100%")
    if share is not None and number != text:
        most = share * parameters
        return Budget(max(1, min(of, math.floor(most + 1e-9))), of, most)
    if items > of:
        raise UsageError(f"budget {text} is more than there is: {of} {noun}")
    if items < 1:
        if share is None or of < 1:
            raise UsageError(f"budget {text} selects nothing; there are {of} {noun} to choose from")
        items = 1
    return Budget(items, of, math.inf if share is None else share * weights)
