from __future__ import annotations

import numpy as np
import pytest

from hfbiasedit import intervals
from hfbiasedit.intervals import (
    bootstrap,
    interval,
    mean_interval,
    paired_interval,
    percentiles,
    rate_interval,
    resampled,
    wilson,
)


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


def test_the_middle_of_the_values_by_hand():
    assert percentiles(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
    assert percentiles(np.arange(101.0), 0.5) == pytest.approx((25.0, 75.0))
    assert interval(np.arange(50.0), level=0.5)[0] > interval(np.arange(50.0), level=0.99)[0]


def test_what_is_resampled_does_not_depend_on_how_much_is_held_at_once(monkeypatch):
    whole = np.concatenate(list(resampled(7, 5, 30)))
    assert whole.shape == (30, 7)
    assert set(whole.flatten()) == set(range(7))
    assert len(list(resampled(7, 5, 30))) == 1
    monkeypatch.setattr(intervals, "_ENTRIES", 20)  # less than three rows
    pieces = list(resampled(7, 5, 30))
    assert [len(piece) for piece in pieces] == [2] * 15
    monkeypatch.setattr(intervals, "_ENTRIES", 3)  # less than one
    assert [len(piece) for piece in resampled(7, 5, 30)] == [1] * 30


def test_options_reach_the_resampling():
    """One number of samples, one seed and one level say all; a pair is the interval of changes."""
    first, second = np.arange(20.0), np.arange(20.0)[::-1].copy() + np.arange(20) % 3
    options = dict(seed=9, samples=50, level=0.8)
    generator = np.random.default_rng(9)
    means = (second - first)[generator.integers(20, size=(50, 20))].mean(axis=1)
    wanted = tuple(np.quantile(means, (0.1, 0.9)))
    assert interval(second - first, **options) == pytest.approx(wanted)
    assert paired_interval(first, second, **options) == pytest.approx(wanted)
    assert interval(first) == interval(first, seed=0, samples=2000, level=0.95)
    assert paired_interval(first, second) == interval(second - first)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals_of_rates(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx([low, high], abs=5e-5)
    mirrored = [1 - high, 1 - low]
    assert wilson(trials - successes, trials) == pytest.approx(mirrored, abs=5e-5)


def test_rates_at_the_ends():
    assert wilson(0, 0) == [0.0, 1.0]
    assert wilson(0, 1)[0] == 0.0
    assert wilson(1, 1)[1] == 1.0
    for trials in range(1, 60):
        assert wilson(0, trials)[0] >= 0.0
        assert wilson(trials, trials)[1] <= 1.0


def test_a_bootstrap_counts_how_often_each_unit_was_drawn():
    seen = []

    def statistic(counts):
        seen.append(counts)
        return np.arange(len(counts), dtype=float)

    low, high = bootstrap(statistic, 6, resamples=401, seed=2)
    assert (low, high) == pytest.approx((10.0, 390.0))  # 2.5 % and 97.5 % of 0..400
    (counts,) = seen
    assert counts.shape == (401, 6)
    assert counts.dtype == np.float64
    assert (counts.sum(axis=1) == 6).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)
    bootstrap(statistic, 6, resamples=401, seed=2)
    bootstrap(statistic, 6, resamples=401, seed=3)
    assert (seen[1] == counts).all()
    assert (seen[2] != counts).any()


def test_the_interval_of_a_mean_is_that_of_normal_theory_where_there_are_many():
    values = np.random.default_rng(4).normal(3, 2, 400)
    low, high = mean_interval(values, resamples=4000, seed=0)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert mean_interval(values, resamples=40, seed=1) != mean_interval(
        values, resamples=40, seed=2
    )
    assert mean_interval(values, resamples=40, seed=1) != mean_interval(
        values, resamples=41, seed=1
    )


def test_a_rate_of_single_trials_and_one_of_several():
    shares = np.array([1.0, 0.0, 1.0, 1.0])
    assert rate_interval(shares, 1, resamples=50, seed=0) == wilson(3, 4)
    many = np.array([0.5, 0.25, 1.0, 0.0])
    for options in (dict(resamples=50, seed=1), dict(resamples=60, seed=2)):
        assert rate_interval(many, 2, **options) == mean_interval(many, **options)


def test_short_numbers_are_computed_with_in_full():
    first, second = (np.random.default_rng(n).normal(size=30).astype(np.float32) for n in (0, 1))
    assert interval(first) == interval(first.astype(float))
    assert paired_interval(first, second) == paired_interval(
        first.astype(float), second.astype(float)
    )
