from __future__ import annotations

import numpy as np
import pytest

from hfbiasedit import intervals
from hfbiasedit.intervals import interval, paired_interval


def test_matches_a_plain_loop(monkeypatch):
    values = np.random.default_rng(1).normal(20, 5, 40)
    monkeypatch.setattr(intervals, "_ENTRIES", 40 * 300)  # in pieces that divide 2,000 unevenly
    generator = np.random.default_rng(3)
    means = [values[generator.integers(40, size=40)].mean() for _ in range(2000)]
    assert interval(values, seed=3) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))))


def test_same_seed_same_interval_other_seed_nearly():
    values = np.arange(100.0)
    assert interval(values, seed=1) == interval(values, seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)
    assert interval(values, seed=1) == pytest.approx(interval(values, seed=2), abs=1.5)


def test_covers_the_true_mean_about_19_times_in_20():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = interval(rng.normal(0, 1, 60), seed=trial, samples=400)
        hits += low <= 0 <= high
    assert 175 <= hits <= 199


def test_paired_is_narrower_than_what_two_single_intervals_suggest():
    rng = np.random.default_rng(0)
    before = rng.normal(30, 15, 200)
    after = before - 5 + rng.normal(0, 1, 200)
    low, high = paired_interval(before, after)
    assert low < -5 < high
    assert high - low < 0.5
    single = interval(before)
    assert single[1] - single[0] > 3


def test_one_profession_and_none():
    assert interval([4.0]) == (4.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        interval([])
    with pytest.raises(ValueError, match="differ in shape"):
        paired_interval([1.0], [1.0, 2.0])
