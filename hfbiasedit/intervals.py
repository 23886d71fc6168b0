"""95 % intervals: percentile bootstrap over units (seeded), and Wilson for single rates.

For the FB-Score the units are professions: they are what a new study would draw anew, and the
prompts of one profession are alike and come and go together. The same seed and number of units give
the same resamples, so that intervals of two reports differ by their values alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
SAMPLES = 2000  # resamples: resampling moves each end by about 1.5 % of the interval (normal means)
LEVEL = 0.95
Z95 = 1.959963984540054  # quantile of the normal distribution that belongs to LEVEL
_ENTRIES = 1 << 22  # resampled values held at once


def interval(
    values: ArrayLike, *, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the mean of one value per profession.

    A single profession says nothing about others: its interval is its value, twice, and nobody
    prints it (see `documents.formatting`).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no values to resample")
    means = np.concatenate(
        [array[index].mean(axis=1) for index in resampled(array.size, seed, samples)]
    )
    return percentiles(means, level)


def paired_interval(
    before: ArrayLike,
    after: ArrayLike,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of mean(after - before), both given per profession in the same order.

    Every profession is its own control: what both sides share cancels out.
    """
    first = np.asarray(before, dtype=np.float64)
    second = np.asarray(after, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired values differ in shape: {first.shape} and {second.shape}")
    return interval(second - first, seed=seed, samples=samples, level=level)


def resampled(size: int, seed: int, samples: int) -> Iterator[NDArray[np.int64]]:
    """Indices [some samples, size], together `samples` rows."""
    generator = np.random.default_rng(seed)
    rows = max(1, _ENTRIES // size)
    for start in range(0, samples, rows):
        yield generator.integers(size, size=(min(rows, samples - start), size))


def percentiles(values: Floats, level: float) -> tuple[float, float]:
    """The middle `level` of the values."""
    tail = (1 - level) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)


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
