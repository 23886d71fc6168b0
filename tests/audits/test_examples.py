"""What a report carries of single prompts, and the estimates made from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hfbiasedit.audits.breakdowns import PromptScores, profession_rows
from hfbiasedit.audits.examples import examples
from hfbiasedit.audits.shift import shifted
from tests.scoring.worlds import planted_records


def scores(repeats=4, seed=0):
    rows = [
        dataclasses.replace(row, id=f"{row.id}/{number}")
        for number in range(repeats)
        for row in planted_records()
    ]
    rng = np.random.default_rng(seed)
    male, female = np.log(rng.uniform(0.01, 0.4, (2, len(rows))))
    return PromptScores.of(rows, male, female)


def test_six_prompts_of_each_profession_at_most_whatever_the_model_said():
    first, second = examples(scores(seed=0)), examples(scores(seed=1))
    assert [row["id"] for row in first] == [row["id"] for row in second]
    counts = dict.fromkeys(scores().professions, 0)
    for row in first:
        counts[row["profession"]] += 1
    assert set(counts.values()) == {6}
    assert len(examples(scores(repeats=1))) == len(planted_records())


def test_an_example_says_what_was_measured():
    found = scores(repeats=1)
    row = examples(found)[2]
    record = found.records[2]
    assert (row["id"], row["prompt"]) == (record.id, record.prompt)
    assert row["p_female"] == pytest.approx(np.exp(found.log_female[2]))
    assert row["model_share"] == pytest.approx(row["p_female"] / (row["p_male"] + row["p_female"]))


def test_one_prompt_of_each_profession_gives_no_estimate():
    found = scores(repeats=1)
    single = [list(found.codes).index(code) for code in range(len(found.professions))]
    records = [found.records[index] for index in single]
    rows = profession_rows(
        PromptScores.of(records, found.log_male[single], found.log_female[single])
    )
    assert not any("estimate" in row for row in rows)
    for row in profession_rows(found):
        low, high = row["ci95"]
        assert 0 <= low <= row["estimate"] <= high <= 1


def test_a_planted_lean_is_all_there_is():
    """Log-odds that differ from the reference by one constant: with it nothing is left."""
    records = planted_records()
    fact = np.array([record.share_female for record in records])
    female = 0.2 * fact * np.exp(-1.0) / (1 - fact + fact * np.exp(-1.0))
    found = shifted(PromptScores.of(records, np.log(0.2 - female), np.log(female)))
    assert found["shift"] == pytest.approx(1.0)
    assert found["fb_score"] == pytest.approx(0.0, abs=1e-6)
