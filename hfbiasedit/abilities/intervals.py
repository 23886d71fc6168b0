"""95 % intervals of the ability figures: bootstrap over units, Wilson for single rates."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Z95 = 1.959963984540054


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], units: int, *, resamples: int, seed: int
) -> list[float]:
    """Percentile interval [low, high] of a statistic over resampled units.

    Args:
        statistic: takes counts [resamples, units] (how often each unit was drawn) and returns
            one value per resample.
        units: how many there are. resamples: how many are drawn. seed: of the draws.
    """
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)
    low, high = np.percentile(statistic(draws.astype(np.float64)), [2.5, 97.5])
    return [float(low), float(high)]


def mean_interval(values: np.ndarray, *, resamples: int, seed: int) -> list[float]:
    """Bootstrap interval of the mean of one value per unit."""
    return bootstrap(
        lambda counts: counts @ values / len(values), len(values), resamples=resamples, seed=seed
    )


def wilson(successes: int, trials: int) -> list[float]:
    """Wilson score interval of a rate (Wilson 1927); right at 0 and 1, unlike the bootstrap."""
    if trials == 0:
        return [0.0, 1.0]
    rate, spread = successes / trials, Z95**2 / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def rate_interval(shares: np.ndarray, per_unit: int, *, resamples: int, seed: int) -> list[float]:
    """Interval of a mean share over units: Wilson for one trial per unit, else bootstrap."""
    if per_unit == 1:
        return wilson(round(float(shares.sum())), len(shares))
    return mean_interval(shares, resamples=resamples, seed=seed)
