"""How strongly to edit: the price under which prompts of kinds left out of the edit come out best.

A linear model foretells what an edit that learns from some of its prompts does to the others, so
that every price can be tried on prompts left out, at no pass through the model. What is left out
together is everything with the same vocabulary of values in the same language: what carries over to
it has to carry over to new templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.codegenbias.vocabulary import vocabulary_of
from hfbiasedit.console import tracked
from hfbiasedit.editing.material.dual import Targets, dual, folds_of, times
from hfbiasedit.editing.solving.linearisation import Linear

FOLDS = 4
# Prices, of the weighted mean of squared lengths of gradients; tried from the dearest on.
PRICES = tuple(10.0 ** (-exponent / 2) for exponent in range(5, 15))
# Of reweighting, from where the last price led: on SmolLM2 the scores that are compared are within
# 0.03 of those of eight rounds, where neighbouring prices differ by 0.3 and more.
_ROUNDS = 2
_WORSE = 2  # prices in a row that are not close to the best one end the search
# Of the score before: as good as the best one. Where prompts left out hardly tell prices apart (in
# a second round of SmolLM2 those over two decades differ by 0.05) the cheapest of them does most.
CLOSE = 0.01


@dataclass(frozen=True)
class LeftOut:
    """A price, and the FB-Score of prompts left out: before, and foretold for that price."""

    price: float
    before: float
    after: float


def left_out(linear: Linear, gram: Tensor) -> LeftOut:
    """The cheapest price that is as good as the best one.

    `gram` [N, N] holds the inner products of the linear model's rows.
    """
    targets = linear.targets
    folds = folds_of(_kinds(linear.records), FOLDS)
    scale = float((targets.weight * gram.diagonal().cpu())[targets.share].sum())
    before = _score(targets, targets.start)
    found: list[LeftOut] = []
    near: list[Tensor | None] = [None] * FOLDS
    worse = 0
    for price in tracked(PRICES, "prices on prompts left out"):
        values = targets.start.clone()
        for fold in range(int(folds.max()) + 1):
            out = targets.share & (folds == fold)
            if out.all() or not out.any():
                continue
            rest = ~out
            y, near[fold] = dual(
                gram[rest][:, rest], targets.part(rest), price * scale, near[fold], _ROUNDS
            )
            values[out] += times(gram[out][:, rest], y)
        found.append(LeftOut(price * scale, before, _score(targets, values)))
        near_best = _close(found)
        worse = 0 if found[-1] in near_best else worse + 1
        if worse == _WORSE:
            break
    return near_best[-1]


def _close(found: Sequence[LeftOut]) -> list[LeftOut]:
    """Those that are as good as the best one."""
    best = min(one.after for one in found)
    return [one for one in found if one.after <= best + CLOSE * one.before]


def _kinds(records: Sequence[Record]) -> list[str]:
    """What is left out together; where that is all alike templates, and else professions."""
    kinds = [f"{record.language}/{vocabulary_of(record)}" for record in records]
    for finer in ("template", "profession"):
        if len(set(kinds)) == 1:
            kinds = [getattr(record, finer) for record in records]
    return kinds


def _score(targets: Targets, values: Tensor) -> float:
    """Weighted mean distance of shares from the factual ones, times 100."""
    share = targets.share
    distance = (values.sigmoid() - targets.goal.sigmoid()).abs()[share]
    return 100 * float((targets.weight[share] * distance).sum() / targets.weight[share].sum())
