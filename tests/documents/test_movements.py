from __future__ import annotations

import copy

import pytest

from hfbiasedit.documents.movements import farthest, movements, worse
from tests.reports import fixtures


@pytest.fixture(scope="module")
def sides():
    made = fixtures.documents(40)
    return made["before"], made["after"]


def test_changes_are_those_of_the_documents(sides):
    before, after = sides
    moves = {move.profession: move for move in movements(before, after)}
    second = {row["profession"]: row for row in after["professions"]}
    for row in before["professions"]:
        move = moves[row["profession"]]
        assert move.fb_change == pytest.approx(100 * (second[row["profession"]]["fb"] - row["fb"]))
        low, high = move.change_interval
        assert low < move.change_estimate < high


def test_a_change_on_one_prompt_ranks_behind_the_same_on_many(sides):
    before, after = copy.deepcopy(sides)
    for number, prompts in ((0, 1), (1, 36)):
        before["professions"][number].update(fb=0.1, n=prompts, group="Legal")
        after["professions"][number].update(fb=0.4, n=prompts, group="Legal")
    first = before["professions"][1]["profession"]
    assert worse(movements(before, after))[0].profession == first


def test_without_prompts_the_change_is_its_own_estimate(sides):
    before, after = copy.deepcopy(sides)
    del before["examples"]
    for move in movements(before, after):
        assert move.change_estimate == pytest.approx(move.fb_change, abs=1e-6)
        assert move.change_interval is None


def test_the_farthest_go_by_the_estimate_where_there_is_one():
    rows = [
        {"profession": "once", "fb": 0.8, "estimate": 0.4, "n": 1},
        {"profession": "often", "fb": 0.6, "estimate": 0.58, "n": 30},
    ]
    assert [row["profession"] for row in farthest(rows)] == ["often", "once"]
    for row in rows:
        del row["estimate"]
    assert [row["profession"] for row in farthest(rows)] == ["once", "often"]
