"""Means of few values, moved towards the mean of their group by as much as chance explains.

A mean of one prompt lies far from the rest more often than a mean of thirty; a ranking of raw means
lists those that were measured least. A random-effects model tells how much of the differences
is real: mean i of n_i values is centre + effect (variance tau^2) + chance (variance sigma^2 / n_i).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hfbiasedit.intervals import Z95, Floats

_SMALLEST_GROUP = 5  # members that say where a group lies


@dataclass(frozen=True)
class Estimates:
    """Estimates of the true means with their 95 % intervals, one entry per mean."""

    values: Floats
    low: Floats
    high: Floats


def scatter(values: Floats, codes: np.ndarray) -> float | None:
    """Variance of single values around the mean of their unit (sigma^2), pooled over units.

    `codes` are the units' numbers 0..n-1. None where no unit has two values.
    """
    counts = np.bincount(codes)
    freedom = int(codes.size - np.count_nonzero(counts))
    if not freedom:
        return None
    means = np.bincount(codes, weights=values) / np.maximum(counts, 1)
    return float(((values - means[codes]) ** 2).sum() / freedom)


def shrunk(
    means: Floats, counts: Sequence[int] | np.ndarray, within: float, groups: Sequence[str]
) -> Estimates:
    """Estimates of true means (empirical Bayes), tau^2 after DerSimonian and Laird (1986).

    Args:
        means: one per unit. counts: the number of values behind each.
        within: variance of single values, as `scatter` gives it.
        groups: what each unit belongs to; groups of fewer than five units stand together.
    """
    means, counts = np.asarray(means, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not within:
        return Estimates(means, means, means)
    labels = _labels(groups)
    noise = within / counts
    centres, _ = _centres(means, 1 / noise, labels)
    weights = 1 / noise
    excess = float((weights * (means - centres) ** 2).sum()) - (means.size - labels.max() - 1)
    sums, squares = np.bincount(labels, weights), np.bincount(labels, weights**2)
    scale = float((sums - squares / sums).sum())
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    centres, uncertainty = _centres(means, 1 / (between + noise), labels)
    trust = between / (between + noise)
    values = centres + trust * (means - centres)
    spread = Z95 * np.sqrt(trust * noise + (1 - trust) ** 2 * uncertainty)
    return Estimates(values, values - spread, values + spread)


def _centres(means: Floats, weights: Floats, labels: np.ndarray) -> tuple[Floats, Floats]:
    """The weighted mean of each unit's group, and that mean's variance."""
    sums = np.bincount(labels, weights)
    return (np.bincount(labels, weights * means) / sums)[labels], (1 / sums)[labels]


def _labels(groups: Sequence[str]) -> np.ndarray:
    sizes = Counter(groups)
    names = [name if sizes[name] >= _SMALLEST_GROUP else None for name in groups]
    if 0 < names.count(None) < _SMALLEST_GROUP:
        names = [None] * len(names)
    return np.unique([name or "" for name in names], return_inverse=True)[1]
