"""Confidence intervals by resampling professions (percentile bootstrap, seeded).

Professions are what a new study would draw anew; the prompts of one profession are alike and come
and go together. The same seed and number of professions give the same resamples, so that intervals
of two reports differ by their values alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hfbiasedit.scoring.fb_score import Floats, slopes

SAMPLES = 2000
LEVEL = 0.95
_ENTRIES = 1 << 22  # resampled values held at once


def interval(
    values: ArrayLike, *, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the mean of one value per profession.

    A single profession says nothing about others: its interval is its value, twice.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no values to resample")
    means = np.concatenate(
        [array[index].mean(axis=1) for index in _resamples(array.size, seed, samples)]
    )
    return _quantiles(means, level)


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
        [slopes(y[index], x[index]) for index in _resamples(y.size, seed, samples)]
    )
    found = found[~np.isnan(found)]
    return _quantiles(found, level) if found.size else None


def _resamples(size: int, seed: int, samples: int) -> Iterator[NDArray[np.int64]]:
    """Indices [some samples, size], together `samples` rows."""
    generator = np.random.default_rng(seed)
    rows = max(1, _ENTRIES // size)
    for start in range(0, samples, rows):
        yield generator.integers(size, size=(min(rows, samples - start), size))


def _quantiles(values: Floats, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)
