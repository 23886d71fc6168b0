"""Held-out prompts with what is written after them."""

import numpy as np
import pytest

from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.editing.judging import examples
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import score
from tests.editing import worlds


def scores_of(loaded):
    records = worlds.records()
    found = score(loaded, encode(loaded.tokenizer, records))
    return PromptScores.of(records, found.log_male, found.log_female)


def made_up(shares, masses):
    records = worlds.records()[: len(shares)]
    share, mass = np.array(shares), np.array(masses)
    return PromptScores.of(records, np.log(mass * (1 - share)), np.log(mass * share))


def test_the_rule_by_which_they_are_chosen():
    factual = [record.share_female for record in worlds.records()[:6]]
    assert set(factual) == {0.88, 0.15}  # three prompts of each
    mass = [0.01, 0.5, 0.5, 0.01, 0.5, 0.5]
    before = made_up([0.1, 0.5, 0.5, 0.1, 0.5, 0.3], mass)
    after = made_up([0.88, 0.6, 0.55, 0.99, 0.6, 0.2], mass)
    # Numbers 0 and 3 moved most, and the model hardly writes a gender there.
    assert examples.choose(before, after) == {"closer": 1, "farther": 4}
    assert examples.choose(before, before) == {}


@pytest.fixture(scope="module")
def models():
    first, second = worlds.loaded(), worlds.loaded()
    second.model.model.layers[1].mlp.down_proj.weight.data.mul_(1.7)
    return first, second


def test_both_models_get_the_same_draws_and_counts_are_of_them(models):
    scores = tuple(scores_of(model) for model in models)
    found = examples.write_examples(models, scores, seed=3)
    assert [row["chosen"] for row in found] == ["closer", "farther"]
    again = examples.write_examples(models, scores, seed=3)
    assert again == found
    same = examples.write_examples((models[0], models[0]), scores, seed=3)
    for row in same:
        assert row["before"]["text"] == row["after"]["text"]
        assert row["before"]["women"] == row["after"]["women"]
    for row in found:
        number = [record.id for record in scores[0].records].index(row["id"])
        for side, part in zip(("before", "after"), scores, strict=True):
            assert row[side]["share_female"] == part.share[number]
            assert 0 <= row[side]["women"] + row[side]["men"] <= examples.DRAWS


def test_draws_follow_the_probabilities():
    loaded = worlds.loaded()
    scores = scores_of(loaded)
    number = int(scores.mass.argmax())
    (side,) = examples._sides(loaded, [scores.records[number]], scores, [number], seed=0)
    written = side["women"] + side["men"]
    expected = examples.DRAWS * scores.mass[number]
    # Binomial: five standard deviations, and a draw more for what a stop cuts off.
    assert abs(written - expected) <= 5 * np.sqrt(expected + 1) + 1


def test_a_model_that_cannot_write_leaves_the_run_without_examples(models, monkeypatch, capsys):
    first, second = models
    scores = (scores_of(first), scores_of(second))
    monkeypatch.setattr(first.model.config, "max_position_embeddings", 4)
    assert examples.write_examples(models, scores, seed=0) == []
    assert "no example" in capsys.readouterr().err
