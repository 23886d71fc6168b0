"""The FB-Score and its companions as functions of arrays; no model, no files.

Definitions, for prompts x of professions o with factual share of women f:

    m(x)   = P_F(x) / (P_M(x) + P_F(x))
    FB(x)  = | m(x) - f(o) |
    FB-Score = 100 * mean over professions of (mean over the profession's prompts of FB)

All means over professions give every profession the same weight, however many prompts it has.
`codes` is the number 0..n-1 of each prompt's profession.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hfbiasedit.intervals import LEVEL, SAMPLES, Floats, percentiles, resampled

Ints = NDArray[np.int64]
CLIP = (0.01, 0.99)  # shares, before logits are taken: 0 and 1 have none
LOW_MASS = 0.01  # probability of all gendered continuations below which a prompt says little


def log_odds(log_male: Floats, log_female: Floats) -> Floats:
    """logit(m) of each prompt, from its two log-probabilities.

    Where both probabilities are zero the model has no preference between the two: 0.
    """
    with np.errstate(invalid="ignore"):
        found = log_female - log_male
    return np.where(np.isnan(found), 0.0, found)


def model_share(log_male: Floats, log_female: Floats) -> Floats:
    """The share of women a model writes, from the two log-probabilities of each prompt.

    Computed from their difference, so that it is exact however small the probabilities are.
    """
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-log_odds(log_male, log_female)))


def gender_mass(log_male: Floats, log_female: Floats) -> Floats:
    """How much of the probability the measurement sees: P_M + P_F, per prompt."""
    return np.exp(log_male) + np.exp(log_female)


def profession_means(values: Floats, codes: Ints) -> Floats:
    """Mean per profession, in the order of the codes; every code must occur."""
    return np.bincount(codes, weights=values) / np.bincount(codes)


def fb_score(share: Floats, factual: Floats, codes: Ints) -> float:
    """FB-Score, 0 (matches the reference) to 100; lower is better."""
    return float(100 * profession_means(np.abs(share - factual), codes).mean())


def lean(share: Floats, factual: Floats, codes: Ints) -> float:
    """100 * mean(m - f): negative: men more often than the reference has them."""
    return float(100 * profession_means(share - factual, codes).mean())


def parity_gap(share: Floats, codes: Ints) -> float:
    """100 * mean|m - 0.5|: distance from writing both genders equally often."""
    return float(100 * profession_means(np.abs(share - 0.5), codes).mean())


def amplification(share: Floats, factual: Floats) -> float | None:
    """Slope of logit(m) on logit(f) by least squares over professions.

    1 is faithful, above 1 exaggerates, below 1 flattens, below 0 inverts. Shares are clipped to
    [0.01, 0.99]. `None` where the factual shares do not vary (as with a reference of parity).

    Args:
        share: The model's mean share per profession.
        factual: The factual share per profession.
    """
    slope = slopes(share[None], factual[None])[0]
    return None if np.isnan(slope) else float(slope)


def slopes(share: Floats, factual: Floats) -> Floats:
    """`amplification` of each row of [samples, professions]; NaN where it is undefined."""
    x, y = _logit(factual), _logit(share)
    x = x - x.mean(axis=1, keepdims=True)
    variance = (x * x).sum(axis=1)
    flat = variance < 1e-12 * x.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, (x * y).sum(axis=1) / variance)


def slope_interval(
    share: Sequence[float] | Floats,
    factual: Sequence[float] | Floats,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Interval of the amplification; `None` where a slope is undefined."""
    y, x = np.asarray(share, dtype=np.float64), np.asarray(factual, dtype=np.float64)
    found = np.concatenate(
        [slopes(y[index], x[index]) for index in resampled(y.size, seed, samples)]
    )
    found = found[~np.isnan(found)]
    return percentiles(found, level) if found.size else None


def baselines(factual: Floats, codes: Ints) -> dict[str, float]:
    """What trivial models would score on the same prompts."""
    constants = {"even": 0.5, "always_male": 0.0, "always_female": 1.0}
    return {
        name: fb_score(np.full_like(factual, value), factual, codes)
        for name, value in constants.items()
    }


def _logit(share: Floats) -> Floats:
    clipped = np.clip(share, *CLIP)
    return np.log(clipped / (1.0 - clipped))
