"""Saliencies that are a measure of gradients, alone or relative to the same for general code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.editing.locating.method import Evidence, Judgement, Loss
from hfbiasedit.editing.locating.ranking import contrast, mean_saliency
from hfbiasedit.editing.locating.saliency import Measure, collect, fisher, grad, taylor
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection, fingerprint, rows_in


@dataclass(frozen=True)
class Measured:
    """The mean over probes of a measure of (weights, gradients), both of the same shape.

    `contrasted` divides it by the same of general code, damped by that one's mean.
    """

    measure: Measure
    contrasted: bool = False

    def judge(self, evidence: Evidence) -> Judgement:
        """One backward pass per probe, reduced parameter by parameter.

        Raises:
            BiasEditError: the measure is zero everywhere, or not finite.
        """
        items, model = evidence.items, evidence.loaded.model
        bias = evidence.bias_losses()
        code = evidence.code_losses() if self.contrasted else []
        with progress("locating", len(bias) + len(code)) as bar:
            options: dict[str, Any] = {
                "checkpoint": evidence.config.checkpoint,
                "advance": bar.advance,
            }
            scores = collect(model, items, bias, self.measure, **options)
            mean_saliency(scores, items)  # refuses gradients that are zero or not finite
            damping = 0.0
            if code:
                general = collect(model, items, code, self.measure, **options)
                damping = mean_saliency(general, items)
                scores = contrast(scores, general, items)

        def entry_scores(pool: dict[str, Tensor]) -> dict[str, Tensor]:
            found = self._entries(evidence, pool, bias)
            if not code:
                return found
            general = self._entries(evidence, pool, code)
            return {name: found[name] / (general[name] + damping) for name in found}

        return Judgement(scores, entry_scores)

    def _entries(
        self, evidence: Evidence, pool: dict[str, Tensor], losses: Sequence[Loss]
    ) -> dict[str, Tensor]:
        """The mean measure of every weight of some rows, [rows, columns], from the same probes."""
        model, by_name = evidence.loaded.model, {item.name: item for item in evidence.items}
        slices = {name: rows_in(by_name[name], rows) for name, rows in pool.items()}
        selection = Selection("row", slices, fingerprint(model))
        sums = {name: torch.zeros(len(rows), by_name[name].columns) for name, rows in pool.items()}
        with Deltas(model, selection) as deltas, deltas.attached():
            for loss in losses:
                loss().backward()
                for name, delta in deltas.values.items():
                    if delta.grad is not None:
                        base = deltas.base[name].to(delta.grad.dtype)
                        sums[name] += self.measure(base, delta.grad).cpu()
                        delta.grad = None
        return {name: value / max(1, len(losses)) for name, value in sums.items()}


TAYLOR = Measured(taylor)
GRAD = Measured(grad)
FISHER = Measured(fisher)
CONTRASTIVE = Measured(fisher, contrasted=True)
