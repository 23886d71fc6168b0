"""What the first screen says, for models of several kinds."""

from __future__ import annotations

import copy
import io
import re

import pytest
from rich.console import Console

from hfbiasedit.audits.table import render as audit_table
from hfbiasedit.cards.model_card import render_card
from hfbiasedit.documents.reading import Documents, open_documents
from hfbiasedit.editing.judging import outcome
from hfbiasedit.reports.html import write_report
from hfbiasedit.reports.prompts import drawers, typical
from hfbiasedit.reports.scale import scale
from hfbiasedit.reports.verdict import verdict
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(60)


def audited(made, tmp_path, **changes):
    audit = copy.deepcopy(made["before"]) | changes
    return Documents(tmp_path, audit)


@pytest.mark.parametrize(
    ("fb", "words"),
    [
        (0.9, "farther than a coin, which scores 23.1"),
        (0.001, "closer than a coin, which scores 23.1"),
        (None, "not clearly farther than a coin, which scores 23.1"),
    ],
)
def test_the_score_beside_a_coin(made, tmp_path, fb, words):
    """Paired over professions: what counts is the interval of the difference."""
    rows = [
        {**row, "fb": abs(0.5 - row["share_female"]) + 0.01 * (-1) ** n if fb is None else fb}
        for n, row in enumerate(made["before"]["professions"])
    ]
    rows = [{**row, "fb": max(0.0, row["fb"])} for row in rows]
    found = verdict(audited(made, tmp_path, professions=rows, fb_score=27.9))
    assert found.headline.startswith("acme/tiny-coder is 27.9 points away from the reference")
    assert words in found.headline


@pytest.mark.parametrize(
    ("slope", "interval", "words"),
    [
        (0.13, [0.07, 0.19], "It hardly tells occupations apart"),
        (-0.4, [-0.6, -0.2], "It turns the differences between occupations around"),
        (0.78, [0.7, 0.89], "but flattens their differences (amplification 0.78"),
        (1.16, [1.03, 1.33], "It exaggerates the differences"),
        (0.95, [0.8, 1.1], "about as they are"),
        (None, None, None),
    ],
)
def test_what_the_model_knows_of_occupations(made, tmp_path, slope, interval, words):
    documents = audited(made, tmp_path, amplification=slope, amplification_ci95=interval)
    said = " ".join(verdict(documents).sentences)
    assert (words in said) if words else ("amplification" not in said)


def test_one_profession_has_no_interval_and_makes_nothing_clear(tmp_path):
    made = fixtures.documents(1)
    for split in made["edit"]["splits"].values():
        split["difference_ci95"] = [split["difference"]] * 2
    run = fixtures.write_run(tmp_path / "run", made)
    found = verdict(open_documents(run))
    assert found.headline.startswith("The edit makes no clear difference")
    assert "95% interval –), not clearly closer than a coin" in found.headline
    assert any("leans to neither gender on the whole" in said for said in found.sentences)
    card, page = render_card(run), write_report(run, figures=[]).read_text()
    assert "There is no interval: no clear change." in card
    assert "there is no interval" in card.partition("Read this first")[2]
    for text in (card, page, rendered(audit_table(made["before"]), outcome.table(made["edit"]))):
        assert not re.search(r"(?<![\d.])(\d+\.\d+) to [+−-]?\1(?!\d)", text)
        assert "–" in text


def rendered(*tables):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*tables)
    return console.export_text()


def test_one_lean_and_the_rest(made, tmp_path):
    documents = audited(
        made, tmp_path, fb_score=20.0, shifted={"shift": 1.0, "fb_score": 17.5}, lean=-12.0,
        lean_ci95=[-15.0, -9.0],
    )  # fmt: skip
    said = verdict(documents).sentences
    assert said[0].startswith("It writes women 12.0 points less often than the reference has them")
    assert said[1].startswith("2.5 of the 20.0 points are one constant lean; the other 17.5 differ")
    even = audited(made, tmp_path, lean=0.4, lean_ci95=[-1.0, 1.8])
    assert verdict(even).sentences[0].startswith("It leans to neither gender on the whole")


def test_the_farthest_groups_have_prompts_enough(made, tmp_path):
    rows = copy.deepcopy(made["before"]["by_group"])
    rows[0].update(prompts=3, fb_score=99.0)
    said = " ".join(verdict(audited(made, tmp_path, by_group=rows)).sentences)
    assert rows[0]["group"] not in said
    highest = max(rows[1:], key=lambda row: row["fb_score"])
    assert f"Farthest are {highest['group']} ({highest['fb_score']:.1f}," in said


@pytest.mark.parametrize(
    ("interval", "words"),
    [([-9, -7], "closer to the reference"), ([1, 2], "away from the"), ([-1, 1], "no clear")],
)
def test_the_verdict_on_an_edit_follows_its_interval(made, tmp_path, interval, words):
    edit = copy.deepcopy(made["edit"])
    edit["splits"]["test"]["difference_ci95"] = interval
    documents = Documents(tmp_path, made["before"], made["after"], edit, made["ability"])
    found = verdict(documents)
    assert words in found.headline
    said = " ".join(found.sentences)
    assert "60 of 60 professions came closer, 0 went farther." in said
    far = max(made["after"]["by_group"], key=lambda row: row["fb_score"])
    (before,) = [row for row in made["before"]["by_group"] if row["group"] == far["group"]]
    low, high = far["ci95"]
    numbers = f"{far['fb_score']:.1f}, {low:.1f} to {high:.1f}; before {before['fb_score']:.1f}"
    assert f"Farthest now are {far['group']} ({numbers})" in said
    assert "It changed 48,731 weights" in said
    assert "perplexity of code +0.3% (" in said
    assert "HumanEval pass@1 17.1% → 16.5%" in said


def test_places_on_the_scale(made, tmp_path):
    documents = audited(made, tmp_path, fb_score=22.1, ci95=[20.0, 24.0])
    found = scale(documents)
    reference, coin, men = found.marks
    assert reference.place == 0
    assert coin.place / men.place == pytest.approx(23.1 / 44.2)
    (score,) = found.scores
    assert score.low < score.place < score.high
    assert score.place / men.place == pytest.approx(22.1 / 44.2)
    (part,) = found.shares
    assert part.lean_width + part.rest_width == pytest.approx(score.place)
    assert found.lines == 1


def test_marks_that_would_run_into_each_other_stand_on_lines_of_their_own(made, tmp_path):
    """With equal shares as the reference a coin matches it."""
    base = {"even": 0.0, "always_male": 50.0, "always_female": 50.0}
    found = scale(audited(made, tmp_path, baselines=base))
    assert [mark.line for mark in found.marks] == [0, 1, 0]
    assert found.lines == 2


def test_three_ordinary_prompts(made):
    found = typical(made["before"], made["after"])
    assert [prompt.kind for prompt in found] == ["many women", "women and men", "few women"]
    shares = [prompt.share_female for prompt in found]
    assert shares == sorted(shares, reverse=True)
    assert len({prompt.template for prompt in found}) == 3
    before = {(row["prompt"], row["p_female"]) for row in made["before"]["examples"]}
    after = {(row["prompt"], row["p_female"]) for row in made["after"]["examples"]}
    for prompt in found:
        assert [side.name for side in prompt.sides] == ["before", "after"]
        assert (prompt.text, prompt.sides[0].p_female) in before
        assert (prompt.text, prompt.sides[1].p_female) in after
    assert typical({**made["before"], "examples": []}, None) == []


def test_a_typical_prompt_has_mass_and_the_median_distance():
    rows = [
        {
            "id": f"{third}{number}",
            "profession": "x",
            "modifier": "",
            "template": f"t{third}",
            "prompt": "\n".join("abcdefghij"),
            "female": ["she"],
            "male": ["he"],
            "p_female": 0.001 if number == 9 else 0.3,
            "p_male": 0.001 if number == 9 else 0.3,
            "model_share": 0.5,
            "share_female": 0.9 - 0.3 * third + (0.01 * number if number < 5 else 0.005),
        }
        for third in range(3)
        for number in (0, 1, 2, 9, 9)
    ]
    found = typical({"examples": rows}, None)
    assert [round(prompt.share_female, 2) for prompt in found] == [0.91, 0.61, 0.31]
    assert all(prompt.cut and prompt.text == "c\nd\ne\nf\ng\nh\ni\nj" for prompt in found)


def test_drawers_hold_the_prompts_of_their_profession(made):
    found = drawers(made["before"], made["after"])
    assert sum(map(len, found.values())) == len(made["before"]["examples"])
    first = made["before"]["examples"][0]
    (shown,) = [
        row
        for row in found[first["profession"]]
        if row["about"].startswith(first["template"]) and f", {first['modifier']}," in row["about"]
    ]
    assert shown["sides"][0] == [first["p_female"], first["p_male"], first["model_share"]]
    assert len(shown["sides"]) == 2
