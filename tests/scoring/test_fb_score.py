from __future__ import annotations

import math

import numpy as np
import pytest

from hfbiasedit.scoring import fb_score as formulas

# Two professions with unequal numbers of prompts, worked out on paper:
# a: m = 0.2, 0.4 against f = 0.5 -> FB 0.3, 0.1 -> mean 0.2;  b: m = 0.9 against f = 0.6 -> 0.3.
SHARE = np.array([0.2, 0.9, 0.4])
FACTUAL = np.array([0.5, 0.6, 0.5])
CODES = np.array([0, 1, 0])


def test_by_hand():
    assert formulas.fb_score(SHARE, FACTUAL, CODES) == pytest.approx(25.0)
    assert formulas.lean(SHARE, FACTUAL, CODES) == pytest.approx(100 * (-0.2 + 0.3) / 2)
    assert formulas.parity_gap(SHARE, CODES) == pytest.approx(100 * (0.2 + 0.4) / 2)
    assert formulas.baselines(FACTUAL, CODES) == pytest.approx(
        {"even": 5.0, "always_male": 55.0, "always_female": 45.0}
    )


def test_every_profession_weighs_the_same():
    many = np.repeat([0.5], 99)
    share = np.append(many, 1.0)
    factual = np.append(many, 0.0)
    codes = np.append(np.zeros(99, dtype=int), 1)
    assert formulas.fb_score(share, factual, codes) == pytest.approx(50.0)


def test_model_share_is_exact_for_tiny_probabilities():
    male = np.array([math.log(0.3), -900.0, -math.inf, -1.0, -math.inf, -5.0])
    female = np.array([math.log(0.1), -900.0 + math.log(3), -2.0, -math.inf, -math.inf, -800.0])
    expected = [0.25, 0.75, 1.0, 0.0, 0.5, 0.0]
    assert formulas.model_share(male, female) == pytest.approx(expected, abs=1e-12)
    assert formulas.gender_mass(male, female)[:2] == pytest.approx([0.4, 0.0])


@pytest.mark.parametrize("slope", [1.0, 1.7, 0.4, -0.5])
def test_amplification_recovers_a_planted_slope(slope):
    factual = np.linspace(0.2, 0.8, 50)
    logit = np.log(factual / (1 - factual))
    share = 1 / (1 + np.exp(-(0.3 + slope * logit)))
    assert formulas.amplification(share, factual) == pytest.approx(slope)


def test_amplification_clips_and_is_undefined_for_a_constant_reference():
    factual = np.array([0.001, 0.01, 0.99, 0.999])
    assert formulas.amplification(factual, factual) == pytest.approx(1.0)
    assert formulas.amplification(factual, np.full(4, 0.5)) is None
    assert formulas.amplification(np.array([0.3]), np.array([0.2])) is None


def test_slope_interval_holds_the_slope():
    rng = np.random.default_rng(0)
    factual = rng.uniform(0.1, 0.9, 100)
    logit = np.log(factual / (1 - factual)) * 1.5 + rng.normal(0, 0.3, 100)
    share = 1 / (1 + np.exp(-logit))
    low, high = formulas.slope_interval(share, factual)
    assert low < formulas.amplification(share, factual) < high
    assert high - low < 0.3
    assert formulas.slope_interval(share, np.full(100, 0.5)) is None


def test_nothing_is_said_on_the_way_to_shares_that_are_defined():
    """Overflow and 0 / 0 are foreseen: they warn nobody."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = formulas.model_share(np.array([0.0, -math.inf]), np.array([-2000.0, -math.inf]))
        assert list(shares) == [0.0, 0.5]
        slopes = formulas.slopes(np.array([[0.2, 0.8]]), np.array([[0.5, 0.5]]))
        assert np.isnan(slopes).all()


def test_each_row_has_a_slope_of_its_own():
    factual = np.array([[0.2, 0.5, 0.8], [0.1, 0.2, 0.3], [0.6, 0.7, 0.9]])
    odds = np.log(factual / (1 - factual))
    share = 1 / (1 + np.exp(-odds * np.array([[2.0], [-1.0], [0.0]])))
    assert formulas.slopes(share, factual) == pytest.approx([2.0, -1.0, 0.0], abs=1e-12)
    # A reference that varies by one part in a thousand has a slope, one that does not has none.
    nearly = np.array([[0.5, 0.5005, 0.5]])
    assert formulas.slopes(nearly, nearly) == pytest.approx([1.0])


def test_the_interval_of_a_slope_is_that_of_the_resamples_that_have_one():
    """Of two professions half of the resamples hold one of them twice, which has no slope."""
    pair = np.array([0.2, 0.7])
    assert formulas.slope_interval(pair, pair) == pytest.approx((1.0, 1.0))
    rng = np.random.default_rng(5)
    factual, share = rng.uniform(0.1, 0.9, 12), rng.uniform(0.1, 0.9, 12)
    draws = np.random.default_rng(7).integers(12, size=(40, 12))
    slopes = []
    for index in draws:
        x, y = (np.log(values[index] / (1 - values[index])) for values in (factual, share))
        slopes.append(np.polyfit(x, y, 1)[0])
    found = formulas.slope_interval(share, factual, seed=7, samples=40, level=0.8)
    assert found == pytest.approx(tuple(np.quantile(slopes, (0.1, 0.9))))
    short = share.astype(np.float32), factual.astype(np.float32)
    assert formulas.slope_interval(*short) == formulas.slope_interval(
        *(values.astype(np.float64) for values in short)
    )
    assert formulas.slope_interval(list(share), list(factual)) == formulas.slope_interval(
        share, factual, seed=0, samples=2000, level=0.95
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 1 / 3])
def test_a_constant_reference_has_no_slope_whatever_its_mean_rounds_to(share):
    for size in (3, 7, 11):
        assert formulas.amplification(np.linspace(0.2, 0.9, size), np.full(size, share)) is None


def test_shares_at_the_ends_count_as_one_percent_from_them():
    found = formulas.amplification(np.array([0.0, 1.0]), np.array([0.2, 0.8]))
    assert found == pytest.approx(math.log(99) / math.log(4))
