from __future__ import annotations

import copy

import pytest

from hfbiasedit.documents.movements import better, moved_to_men, moved_to_women, movements, worse
from hfbiasedit.documents.reading import Documents
from hfbiasedit.reports import facts, tables
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(40)


def row(name, share, model, fb):
    return {"profession": name, "share_female": share, "model_share": model, "fb": fb, "n": 4}


def test_movements_are_sorted_by_what_changed():
    before = {
        "professions": [
            row("a", 0.5, 0.1, 0.4),
            row("b", 0.2, 0.2, 0.01),
            row("c", 0.9, 0.5, 0.4),
            row("d", 0.1, 0.8, 0.7),
        ]
    }
    after = {
        "professions": [
            row("d", 0.1, 0.3, 0.2),
            row("c", 0.9, 0.5, 0.4),
            row("b", 0.2, 0.3, 0.1),
            row("a", 0.5, 0.4, 0.1),
        ]
    }
    moves = movements(before, after)
    assert [move.profession for move in moves] == ["a", "b", "c", "d"]
    assert [move.profession for move in moved_to_women(moves, 5)] == ["a", "b"]
    assert [move.profession for move in moved_to_men(moves, 5)] == ["d"]
    assert [move.profession for move in worse(moves)] == ["b"]
    assert [move.profession for move in better(moves)] == ["d", "a"]
    assert moves[1].fb_change == pytest.approx(9.0)


def test_splits_come_seen_first_and_missing_ones_are_left_out(made):
    edit = copy.deepcopy(made["edit"])
    del edit["splits"]["dev"], edit["splits"]["test_templates"]
    edit["splits"]["own"] = edit["splits"]["edit"]
    assert [split["split"] for split in tables.splits(edit)] == [
        "edit", "test", "test_modifiers", "test_professions", "test_combined", "own",
    ]  # fmt: skip


def test_breakdowns_pair_by_name(made):
    rows = tables.breakdown("template", made["before"], made["after"])
    wanted = {row["template"]: row["fb_score"] for row in made["after"]["by_template"]}
    assert {row.name: row.after for row in rows} == wanted
    assert all(row.after is None for row in tables.breakdown("group", made["before"], None))


def test_ability_shows_what_was_measured_and_nothing_else(made):
    full = tables.ability(made["ability"])
    assert [row.name for row in full][-1] == "HumanEval, pass@1"
    assert full[-1].before == "17.1% (11.1 to 23.1)"
    assert full[-1].change == "−0.6 points"
    alone = copy.deepcopy(made["ability"])
    for part in ("perplexity", "syntax", "humaneval"):
        del alone[part]["after"]
    rows = tables.ability(alone)
    assert rows
    assert all(not row.after and not row.change for row in rows)
    for part in ("perplexity", "syntax", "humaneval"):
        del alone[part]
    assert tables.ability(None) == tables.ability(alone) == []


def test_paired_differences_and_the_second_look_are_shown(made):
    ability = copy.deepcopy(made["ability"])
    ability["syntax"]["difference"] = {
        "greedy": {"rate": 0.0, "ci95": [-0.02, 0.013]},
        "sampled": {"rate": 0.1, "ci95": [0.0, 0.2]},
    }
    ability["humaneval"]["difference"] = {"pass@1": -0.006, "ci95": [-0.03, 0.01]}
    ability["humaneval"]["before"]["pass@10"] = 0.4
    ability["humaneval"]["after"]["pass@10"] = 0.41
    side = dict.fromkeys(("ci95", "share_scored", "share_reference", "fb_scored", "correlation"))
    side |= {"coverage": 0.8, "share_female": 0.3, "fb_written": 12.34, "n": 9}
    ability["generation"] = {"before": side, "after": {**side, "share_female": None}}
    rows = {row.name: row for row in tables.ability(ability)}
    assert rows["Completions that parse, greedy"].change == "0.0 points (−2.0 to +1.3)"
    assert rows["HumanEval, pass@1"].change == "−0.6 points (−3.0 to +1.0)"
    assert rows["HumanEval, pass@10"].before == "40.0%"
    assert rows["HumanEval, pass@10"].change == "+1.0 points"
    written = rows["Second look: women among the genders written"]
    assert (written.before, written.after) == ("30.0%", "")
    assert rows["Second look: FB-Score of what was written"].after == "12.3"


def test_a_part_of_humaneval_is_not_called_humaneval(made):
    ability = copy.deepcopy(made["ability"])
    part = ability["humaneval"]
    part["problems"]["count"] = 20
    for side in ("before", "after"):
        part[side]["n"] = 20
    assert tables.ability(ability)[-1].name == "HumanEval, 20 problems of it, pass@1"


def test_samples_of_some_problems_are_not_called_all_of_them(made):
    ability = copy.deepcopy(made["ability"])
    ability["humaneval"]["after"]["n"] = 1
    assert not tables.is_humaneval(ability["humaneval"])
    ability["humaneval"]["before"]["n"] = 1
    assert tables.ability(ability)[-1].name == "HumanEval, 1 of 164 problems, pass@1"


def test_problems_of_ones_own_are_not_called_humaneval(made):
    ability = copy.deepcopy(made["ability"])
    ability["humaneval"]["problems"]["name"] = "/home/me/tasks.jsonl"
    assert tables.ability(ability)[-1].name == "tasks.jsonl, pass@1"


def test_warnings_say_which_audit_they_are_from(made, tmp_path):
    before, after = (copy.deepcopy(made[side]) for side in ("before", "after"))
    before["warnings"] = ["low mass", "only 12 prompts, 3.5% of them odd"]
    after["warnings"] = ["only 12 prompts, 4.25% of them odd", "noise"]
    documents = Documents(tmp_path, before, after)
    said = dict(facts.method_facts(documents))["said when it was measured"]
    assert said == (
        "only 12 prompts, 4.25% of them odd · before the edit: low mass · after the edit: noise"
    )
    before["notes"] = ["rounded"]
    said = dict(facts.method_facts(Documents(tmp_path, before)))["said when it was measured"]
    assert said == "low mass · only 12 prompts, 3.5% of them odd · rounded"


@pytest.mark.parametrize(
    ("interval", "expected"), [([-9, -7], "lower"), ([-2, 1], "unchanged"), ([0.1, 2], "higher")]
)
def test_the_verdict_follows_the_interval(made, interval, expected):
    edit = copy.deepcopy(made["edit"])
    edit["splits"]["test"]["difference_ci95"] = interval
    assert facts.verdict(edit, made["before"], made["after"]) == expected


def test_a_difference_missing_from_the_edit_is_computed(made):
    found = facts.difference({**made["edit"], "splits": {}}, made["before"], made["after"])
    change = made["after"]["fb_score"] - made["before"]["fb_score"]
    assert found["difference"] == pytest.approx(change)
    assert found["ci95"][0] < change < found["ci95"][1]


def test_breakdowns_begin_with_the_highest_score(made):
    rows = tables.breakdown("group", made["before"], made["after"])
    assert [row.after for row in rows] == sorted((row.after for row in rows), reverse=True)
    known = {row["group"]: row for row in made["before"]["by_group"]}
    for row in rows:
        assert row.before_interval == known[row.name]["ci95"]
    assert tables.breakdown("nothing", made["before"], None) == []


def test_unseen_templates_say_whether_their_values_were_seen(made):
    edit = copy.deepcopy(made["edit"])
    rows = tables.unseen_templates(edit, made["before"], made["after"])
    facts_of = {row["template"]: row for row in edit["templates"]}
    assert {row.template for row in rows} == {
        name for name, row in facts_of.items() if not row["template_seen"]
    }
    for row in rows:
        assert row.values_seen == facts_of[row.template]["vocabulary_seen"]
    seen, new = tables.carried_over(rows)
    some = [row.scores for row in rows if row.values_seen]
    assert f"{sum(row.after for row in some) / len(some):.1f}." in seen
    assert seen.startswith(f"{len(some)} of these templates ask for values that the edit had seen")
    assert "had never seen" in new
    del edit["templates"]
    assert tables.unseen_templates(edit, made["before"], made["after"]) == []
    assert tables.carried_over([]) == []
