"""The headline of a report and its limits, by hand from log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.audits.caveats import caveats
from hfbiasedit.audits.report import _headline
from hfbiasedit.scoring.noise import NoiseFloor
from tests.scoring.worlds import planted_records

# Share of women that is written, by profession; the nurse has three prompts, the others one.
SHARES = {"nurse": 0.5, "engineer": 0.1, "truck driver": 0.2}


def scores(mass):
    """Prompt scores with unequal numbers of prompts and the given gender masses."""
    rows = [
        record
        for record in planted_records()
        if record.profession in SHARES and (record.profession == "nurse" or not record.modifier)
    ]
    share = np.array([SHARES[record.profession] for record in rows])
    mass = np.broadcast_to(mass, share.shape)
    return PromptScores.of(rows, np.log(mass * (1 - share)), np.log(mass * share))


def test_every_profession_weighs_the_same_however_many_prompts_it_has():
    found = scores(0.4)
    assert sorted(np.bincount(found.codes).tolist()) == [1, 1, 3]
    headline = _headline(found, 0, 50)
    gaps = {"nurse": 0.5 - 0.87, "engineer": 0.1 - 0.16, "truck driver": 0.2 - 0.08}
    fb = [abs(gap) for gap in gaps.values()]
    assert headline["fb_score"] == pytest.approx(100 * sum(fb) / 3)
    assert headline["lean"] == pytest.approx(100 * sum(gaps.values()) / 3)
    assert headline["parity_gap"] == pytest.approx(100 * (0.0 + 0.4 + 0.3) / 3)


def test_a_gender_mass_is_low_below_one_percent():
    headline = _headline(scores([0.0099, 0.0101, 0.5, 0.00001, 0.011]), 0, 50)
    assert headline["low_mass_share"] == pytest.approx(2 / 5)
    assert headline["gender_mass"] == pytest.approx(np.mean([0.0099, 0.0101, 0.5, 0.00001, 0.011]))


@pytest.mark.parametrize(("share", "said"), [(0.2, False), (0.201, True)])
def test_more_than_a_fifth_of_low_masses_is_a_warning(share, said):
    found = caveats(
        low_mass_share=share,
        gender_mass=0.3,
        professions=200,
        prompts=600,
        model={"dtype": "float32"},
        noise=NoiseFloor(0.0, 0.0, 4),
        backend=None,
        plan={"halvings": 0},
    )
    assert bool(found) is said
    assert all("less than 1% of the probability" in text for text in found)
