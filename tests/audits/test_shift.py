"""A constant lean that was planted is the shift that is found, and what is left is the rest."""

from __future__ import annotations

import numpy as np
import pytest

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.audits.shift import best_shift, shifted, shifted_score
from tests.editing import worlds


def leaning(lean):
    """Scores of prompts whose logit(m) is that of the reference plus `lean`."""
    records = worlds.records()
    factual = np.array([record.share_female for record in records])
    logit = np.log(factual / (1 - factual)) + lean
    return PromptScores.of(records, np.full(len(records), -3.0), -3.0 + logit)


@pytest.mark.parametrize("lean", [1.5, -0.35, 4.0, -4.0])
def test_a_constant_lean_is_taken_off_whole(lean):
    scores = leaning(lean)
    assert best_shift(scores) == pytest.approx(-lean)
    found = shifted(scores)
    assert found["shift"] == round(-lean, 6)
    assert found["fb_score"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("lean", [5.0, -9.0])
def test_shifts_end_at_four(lean):
    scores = leaning(lean)
    assert shifted(scores)["shift"] == -4.0 * np.sign(lean)
    assert 0 < shifted(scores)["fb_score"] < shifted_score(scores, 0.0)


def test_where_none_helps_nothing_is_shifted():
    assert best_shift(leaning(0.0)) == 0.0
    assert shifted(leaning(0.0)) == {"shift": 0.0, "fb_score": pytest.approx(0, abs=1e-9)}


def test_the_score_after_a_shift_by_hand():
    """Odds of women of 1 to 1 everywhere, times 3: a share of three quarters."""
    records = worlds.records()
    scores = PromptScores.of(records, np.zeros(len(records)) - 2, np.zeros(len(records)) - 2)
    wanted = 100 * np.mean([abs(0.75 - share) for share in worlds.PROFESSIONS.values()])
    assert shifted_score(scores, np.log(3)) == pytest.approx(wanted)
    assert shifted_score(scores, 0.0) == pytest.approx(
        100 * np.mean([abs(0.5 - share) for share in worlds.PROFESSIONS.values()])
    )


def test_prompts_without_any_probability_count_as_even():
    records = worlds.records()
    logs = np.full(len(records), -2.0)
    none = np.where(np.arange(len(records)) % 2, -2.0, -np.inf)
    some, all_ = (PromptScores.of(records, one, one) for one in (none, logs))
    for shift in (0.0, 0.7):
        assert shifted_score(some, shift) == shifted_score(all_, shift)
    assert shifted(some) == shifted(all_)
