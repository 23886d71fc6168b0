"""The bias that is planted: a share of women per profession, derived from the factual one.

    logit(planted) = exaggeration * logit(factual) + lean + noise

with noise from a normal distribution, clipped to [0.02, 0.98]. The exaggeration and the lean are
the systematic part, the noise (seeded per profession, so that it does not depend on the list) is
the part that belongs to one profession only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass

LOWEST, HIGHEST = 0.02, 0.98


@dataclass(frozen=True)
class Planting:
    """Parameters of the planted bias; ``noise`` is a standard deviation in logits."""

    exaggeration: float = 2.2
    lean: float = -1.0
    noise: float = 0.35
    seed: int = 0

    def share(self, profession: str, factual: float) -> float:
        """Planted share of women (0..1) of a profession with this factual share."""
        factual = min(max(factual, 0.01), 0.99)
        logit = self.exaggeration * math.log(factual / (1 - factual)) + self.lean
        logit += random.Random(f"{self.seed}/{profession}").gauss(0.0, self.noise)
        return min(max(1 / (1 + math.exp(-logit)), LOWEST), HIGHEST)


def plant(factual: Mapping[str, float], planting: Planting) -> dict[str, float]:
    """Planted share per profession, rounded to four digits as it is stored."""
    return {name: round(planting.share(name, share), 4) for name, share in factual.items()}


def document(factual: Mapping[str, float], planting: Planting, reference: str) -> dict[str, object]:
    """What ``planted.json`` holds."""
    planted = plant(factual, planting)
    return {
        "schema": "hfbiasedit.planted/1",
        "reference": reference,
        "formula": "logit(planted) = exaggeration * logit(factual) + lean + N(0, noise), "
        "clipped to [0.02, 0.98]",
        "parameters": asdict(planting),
        "modifiers": "no effect: gender is drawn from the share of the profession alone",
        "professions": {
            name: {"factual": factual[name], "planted": planted[name]} for name in sorted(planted)
        },
    }
