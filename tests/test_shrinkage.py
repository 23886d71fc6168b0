"""Estimates that know how few values are behind a mean."""

from __future__ import annotations

import numpy as np
import pytest

from hfbiasedit.shrinkage import scatter, shrunk


def test_the_pooled_scatter_by_hand():
    values = np.array([1.0, 3.0, 10.0, 10.0, 7.0])
    assert scatter(values, np.array([0, 0, 1, 1, 2])) == pytest.approx(2 / 2)  # 5 values, 3 units
    assert scatter(values, np.arange(5)) is None


def test_estimates_by_hand():
    """Two groups would be too small: all share one centre."""
    means, counts = np.array([0.0, 4.0, 8.0]), [1, 1, 1]
    found = shrunk(means, counts, 4.0, ["a", "b", "c"])
    # Q = 32 / 4 = 8 with 2 degrees of freedom, scale = 3/4 - (3/16)/(3/4) = 1/2: tau^2 = 12.
    trust = 12 / 16
    assert found.values == pytest.approx(4 + trust * (means - 4))
    spread = 1.959964 * np.sqrt(trust * 4 + (1 - trust) ** 2 * 16 / 3)
    assert found.high - found.values == pytest.approx(spread)
    assert found.values - found.low == pytest.approx(spread)


def test_of_equal_means_the_one_of_few_values_is_trusted_less():
    means = np.array([10.0, 10.0, 0.0, 1.0, 2.0, 3.0])
    found = shrunk(means, [1, 40, 5, 5, 5, 5], 6.0, ["x"] * 6)
    assert found.values[0] < found.values[1] < 10
    assert found.high[0] - found.low[0] > found.high[1] - found.low[1]


def test_means_that_differ_by_chance_alone_become_the_mean_of_their_group():
    means = np.array([1.0, 1.1, 0.9, 1.0, 1.0, 5.0, 5.1, 4.9, 5.0, 5.0])
    found = shrunk(means, [2] * 10, 50.0, ["low"] * 5 + ["high"] * 5)
    assert found.values == pytest.approx([1.0] * 5 + [5.0] * 5)


def test_without_scatter_the_means_stand():
    means = np.array([1, 9])
    found = shrunk(means, [1, 1], 0.0, ["a", "a"])
    assert found.values.dtype == np.float64
    assert list(found.values) == list(found.low) == list(found.high) == list(means)


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = ranked_raw = ranked = 0
    for _ in range(60):
        truth = rng.normal(20, 5, 200)
        counts = rng.integers(1, 6, 200)
        means = truth + rng.normal(0, 10, 200) / np.sqrt(counts)
        found = shrunk(means, counts, 100.0, ["one"] * 200)
        inside += int(((found.low <= truth) & (truth <= found.high)).sum())
        ranked_raw += truth[np.argsort(-means)[:10]].sum()
        ranked += truth[np.argsort(-found.values)[:10]].sum()
    assert 0.92 < inside / 12000 < 0.98
    assert ranked > ranked_raw  # those listed first really are farther


def test_two_groups_with_unequal_counts_by_hand():
    """Noise 4, 4, 4, 4, 1 around a centre of 5, and five equal means: Q = 50, tau^2 = 42 / 2.375."""
    means = np.array([0.0, 0.0, 0.0, 0.0, 10.0] + [20.0] * 5)
    found = shrunk(means, [1, 1, 1, 1, 4] + [1] * 5, 4.0, ["a"] * 5 + ["b"] * 5)
    tau = 336 / 19
    weights = [1 / (tau + 4)] * 4 + [1 / (tau + 1)]
    centre = 10 * weights[4] / sum(weights)
    trust = tau / (tau + 1)
    assert found.values[4] == pytest.approx(centre + trust * (10 - centre))
    assert found.values[0] == pytest.approx(centre - tau / (tau + 4) * centre)
    assert found.values[5:] == pytest.approx([20.0] * 5)
    spread = 1.959964 * np.sqrt(trust + (1 - trust) ** 2 / sum(weights))
    assert found.high[4] - found.values[4] == pytest.approx(spread)


def test_one_mean_alone_is_its_own_estimate():
    with np.errstate(all="raise"):
        found = shrunk(np.array([3.0]), [2], 4.0, ["a"])
    assert list(found.values) == [3.0]
    assert found.high[0] - 3 == pytest.approx(1.959964 * np.sqrt(2))


def test_few_leftovers_join_all_and_five_stand_together():
    """By chance alone every mean becomes that of its group: which group that is can be seen."""
    leftover = shrunk(np.array([0.0] * 5 + [12.0]), [1] * 6, 1e6, ["a"] * 5 + ["b"])
    assert leftover.values == pytest.approx([2.0] * 6)
    together = shrunk(np.array([0.0] * 5 + [10.0] * 5), [1] * 10, 1e6, ["a"] * 5 + list("bcdef"))
    assert together.values == pytest.approx([0.0] * 5 + [10.0] * 5)


def test_short_numbers_are_computed_with_in_full():
    means, counts = np.array([0.1, 0.7, 2.3, 5.9]), np.array([3, 5, 7, 11])
    exact = shrunk(means.astype(np.float16).astype(float), counts, 1.3, ["a"] * 4)
    short = shrunk(means.astype(np.float16), counts.astype(np.float16), 1.3, ["a"] * 4)
    assert list(short.values) == list(exact.values)
