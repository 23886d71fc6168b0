"""How much rounding alone moves the numbers: a few prompts scored again in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit.scoring.continuations import EncodedPrompt
from hfbiasedit.scoring.engine import Scores, score
from hfbiasedit.scoring.fb_score import model_share

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

# Prompts that are scored again. Rounding to float32 is far below anything of interest; a glance
# is enough there.
_SAMPLE = {"float32": 4, "float64": 4}
_SAMPLE_LOW = 16
_LOW_PRECISION = ("bfloat16", "float16")
_MOST_ROUNDING = 0.1  # points, in full precision: measured are 1e-4 and less


@dataclass(frozen=True)
class NoiseFloor:
    """Differences between a batched run and the same prompts alone, in points of the FB-Score.

    Attributes:
        mean: Mean over the sample of 100 * |difference of the model share|; the FB-Score moves by
            no more than this when it hits all prompts alike, and by less when it does not.
        largest: The largest of these differences.
        prompts: Size of the sample.
    """

    mean: float
    largest: float
    prompts: int

    def beyond_rounding(self, dtype: str) -> bool:
        """Whether it is more than rounding explains: the model's result depends on the batch."""
        return dtype not in _LOW_PRECISION and self.largest > _MOST_ROUNDING


def noise_floor(
    loaded: LoadedModel, encoded: Sequence[EncodedPrompt], scores: Scores
) -> NoiseFloor:
    """Score a small sample again, one prompt at a time and without sharing, and compare."""
    size = min(len(encoded), _SAMPLE.get(loaded.dtype, _SAMPLE_LOW))
    sample = np.linspace(0, len(encoded) - 1, size).astype(int)
    alone = score(loaded, [encoded[index] for index in sample], batch_size=1, share_prefixes=False)
    first = model_share(scores.log_male[sample], scores.log_female[sample])
    moved = 100 * np.abs(first - model_share(alone.log_male, alone.log_female))
    return NoiseFloor(float(moved.mean()), float(moved.max()), size)
