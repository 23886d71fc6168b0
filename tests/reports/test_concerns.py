import copy

import pytest

from hfbiasedit.documents.movements import movements
from hfbiasedit.reports.concerns import concerns
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(60)


def found(made, *, ability=None, before=None, after=None):
    first, second = copy.deepcopy(made["before"]), copy.deepcopy(made["after"])
    first |= before or {}
    second |= after or {}
    return concerns(first, second, movements(first, second), ability)


def test_a_good_edit_raises_none(made):
    assert found(made, ability=made["ability"]) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (1.16, 0.77, "from 1.16 to 0.77: where the base exaggerates, the edited model flattens"),
        (0.8, 1.3, "the edited model exaggerates"),
        (0.3, -0.2, "turns the differences between occupations around"),
        (1.4, 1.01, None),
        (0.4, 0.9, None),
        (1.001, 0.999, None),  # both print as 1.00
        (None, None, None),
    ],
)
def test_amplification_that_crosses_one(made, before, after, words):
    sentences = found(made, before={"amplification": before}, after={"amplification": after})
    assert [words in s for s in sentences] == ([True] if words else [])


def test_professions_that_became_much_worse_are_named_with_their_prompts(made):
    rows = copy.deepcopy(made["after"]["professions"])
    for number, row in enumerate(rows[:7]):
        row["fb"] = made["before"]["professions"][number]["fb"] + 0.11 + number / 100
        row["n"] = 1
    rows[8]["fb"] = made["before"]["professions"][8]["fb"] + 0.0999
    before = copy.deepcopy(made["before"]["professions"])
    before[6]["n"] = 1
    (sentence,) = found(made, before={"professions": before}, after={"professions": rows})
    assert sentence.startswith("7 of 60 professions are farther")
    assert "and 2 more." in sentence
    worst = made["before"]["professions"][6]
    assert (
        f"{worst['profession']} {100 * worst['fb']:.0f} → {100 * worst['fb'] + 17:.0f} (1 prompt)"
        in sentence
    )
    assert rows[8]["profession"] not in sentence


@pytest.mark.parametrize(("after", "said"), [(0.4, False), (0.385, False), (0.379, True)])
def test_mass_that_was_lost(made, after, said):
    sentences = found(made, before={"gender_mass": 0.4}, after={"gender_mass": after})
    assert bool(sentences) == said
    assert not said or "40.0% → 37.9%" in sentences[0]


def test_worse_than_a_coin_little_mass_and_few_prompts(made):
    few = made["after"]["dataset"] | {"prompts": 40, "professions": 12}
    sentences = found(made, after={"fb_score": 27.9, "low_mass_share": 0.31, "dataset": few})
    assert "(27.9) than a coin (23.1)" in sentences[0]
    assert "On 31.0% of the prompts" in sentences[1]
    assert "40 prompts about 12 professions" in sentences[2]


def test_perplexity_that_rises_beyond_its_interval(made):
    ability = copy.deepcopy(made["ability"])
    ability["perplexity"].update(relative_change=0.02, relative_change_ci95=[-0.01, 0.05])
    assert found(made, ability=ability) == []
    ability["perplexity"].update(relative_change_ci95=[0.01, 0.03])
    assert "rises by 2" in found(made, ability=ability)[0]
