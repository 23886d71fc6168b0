from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from hfbiasedit.documents.comparison import compare, paired_difference
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.comparison_document import ComparisonDocument
from hfbiasedit.errors import BiasEditError, UsageError
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    made = fixtures.documents(30)
    for side in ("before", "after"):  # room for shifts to lower scores
        made[side]["fb_score"] += 10
        for row in made[side]["professions"]:
            row["fb"] += 0.1
    return made


def shifted(report, points, model="acme/other"):
    """The same audit of a model that is `points` closer to the reference for every profession."""
    other = copy.deepcopy(report)
    other["model"]["id"] = model
    other["fb_score"] = report["fb_score"] + points
    for row in other["professions"]:
        row["fb"] += points / 100
    return other


def test_a_constant_shift_has_an_interval_of_no_width(made):
    before = made["before"]
    found = compare([before, shifted(before, -5.0)]).differences[0]
    assert found["difference"] == pytest.approx(-5.0)
    assert found["difference_ci95"] == pytest.approx([-5.0, -5.0])
    assert found["relative_change"] == pytest.approx(-5.0 / before["fb_score"])


def test_pairing_follows_the_profession_not_the_position(made):
    before = made["before"]
    after = shifted(before, -5.0)
    after["professions"].reverse()
    assert paired_difference(before, after)["ci95"] == pytest.approx([-5.0, -5.0])


def test_the_interval_holds_the_difference_and_is_narrower_than_unpaired(made):
    before, after = made["before"], made["after"]
    found = paired_difference(before, after)
    low, high = found["ci95"]
    assert low < found["difference"] < high
    # Against a report of the same spread that moved alike, pairing removes nearly everything.
    near = shifted(before, -1.0)
    near["professions"][0]["fb"] += 0.02
    low, high = paired_difference(before, near)["ci95"]
    assert high - low < 0.2 * (before["ci95"][1] - before["ci95"][0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.update(prompts_digest="00" * 32), "prompts differ"),
        (lambda r: r["dataset"].update(reference="parity"), "reference bls-2022 against parity"),
        (lambda r: r["dataset"].update(split="dev"), "split test against dev"),
        (lambda r: r["professions"].pop(), "different professions"),
        (lambda r: r.pop("prompts_digest"), "a report is damaged: prompts_digest is missing"),
    ],
)
def test_reports_of_other_questions_are_refused(made, change, reason):
    other = shifted(made["before"], -2.0)
    change(other)
    with pytest.raises(BiasEditError, match=reason):
        compare([made["before"], other])


def test_other_schemas_are_refused(tmp_path: Path, made):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**made["before"], "schema": "hfbiasedit.audit/0"}))
    with pytest.raises(BiasEditError, match="another version"):
        compare([made["before"], path])
    path.write_text(json.dumps({"schema": "something"}))
    with pytest.raises(BiasEditError, match="not an audit report"):
        compare([made["before"], path])
    with pytest.raises(BiasEditError, match="does not exist"):
        compare([tmp_path / "missing.json"])


def test_one_report_is_not_enough(made):
    with pytest.raises(UsageError, match="two different"):
        compare([made["before"], {**made["before"], "seconds": 99}])


def test_a_run_stands_for_its_two_audits_and_a_shared_base_is_taken_once(tmp_path: Path, made):
    first = fixtures.write_run(tmp_path / "row", made)
    better = {**made, "after": shifted(made["after"], -1.0, "acme/tiny-coder")}
    second = fixtures.write_run(tmp_path / "neuron", better)
    comparison = compare([first, second])
    assert comparison.labels == (
        "acme/tiny-coder (row before)",
        "acme/tiny-coder + patch (row after)",
        "acme/tiny-coder + patch (neuron after)",
    )
    document = check_document(comparison.to_dict(), ComparisonDocument, "")
    assert [row.get("difference") is None for row in document["reports"]] == [True, False, False]
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_different_types_and_versions_are_warned_of(made):
    other = shifted(made["before"], -2.0)
    other["model"]["dtype"], other["version"] = "float32", "0.2.0"
    other["warnings"] = ["low gender mass"]
    warnings = compare([made["before"], other]).warnings
    assert any("bfloat16, float32" in warning for warning in warnings)
    assert any("0.1.0, 0.2.0" in warning for warning in warnings)
    assert "low gender mass" in warnings


def test_a_score_of_zero_has_no_relative_change(made):
    zero = shifted(made["before"], 0.0)
    zero["fb_score"] = 0.0
    for row in zero["professions"]:
        row["fb"] = 0.0
    assert compare([zero, made["before"]]).differences[0]["relative_change"] is None


@pytest.mark.parametrize(
    ("change", "label", "warning"),
    [
        (
            lambda r: r["model"].update(quantization="int4"),
            ", int4",
            r"alike \(int4, unquantised\)",
        ),
        (
            lambda r: r.update(chat={"request": "", "opening": ""}),
            ", through the chat template",
            "some without",
        ),
        (
            lambda r: r.update(backend={"name": "lm-eval", "model": "hf", "missing": []}),
            ", lm-eval hf",
            r"backends \(engine, lm-eval\)",
        ),
    ],
)
def test_what_is_unusual_about_a_measurement_is_in_its_name(made, change, label, warning):
    other = copy.deepcopy(made["before"])
    change(other)
    comparison = compare([made["before"], other])
    assert comparison.labels == ("acme/tiny-coder", f"acme/tiny-coder{label}")
    assert any(re.search(warning, text) for text in comparison.warnings)
    assert compare([other, shifted(other, -1.0)]).labels[0] == f"acme/tiny-coder{label}"
    document = check_document(comparison.to_dict(), ComparisonDocument, "")
    assert [row["setup"] for row in document["reports"]] == [[], [label[2:]]]


def test_reports_that_were_measured_alike_are_not_warned_of(made):
    other = shifted(made["before"], -1.0)
    comparison = compare([made["before"], other])
    assert comparison.labels == ("acme/tiny-coder", "acme/other")
    assert not any("differences" in text or "backends" in text for text in comparison.warnings)
