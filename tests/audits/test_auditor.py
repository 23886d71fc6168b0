from __future__ import annotations

import dataclasses
import json
import math
import shlex
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hfbiasedit import audit
from hfbiasedit.audits.auditor import measure
from hfbiasedit.audits.config import AuditConfig
from hfbiasedit.cli.app import app
from hfbiasedit.codegenbias.prompts import PromptSet
from hfbiasedit.codegenbias.templates import load_templates
from hfbiasedit.errors import BiasEditError, GateNotMet, UsageError
from hfbiasedit.reports.facts import audit_command
from hfbiasedit.resources import data_path
from tests.scoring.worlds import (
    PROFESSIONS,
    loaded,
    planted_model,
    planted_records,
    records,
    save,
    tiny,
    write_prompts,
)
from tests.tiny import tiny_model, tiny_tokenizer

ODDS = {
    "nurse": (1.0, 1.0, 18.0),
    "engineer": (30.0, 10.0, 10.0),
    "truck driver": (40.0, 9.0, 1.0),
    "kindergarten teacher": (1.0, 0.5, 0.5),
    "elementary school teacher": (2.0, 2.0, 4.0),
}
PLANTED = {name: she / (he + his + she) for name, (he, his, she) in ODDS.items()}


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(data_path("schemas", "audit.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def prompts(rows=None, reference="test"):
    return PromptSet(tuple(rows or records()), "custom", "all", reference)


def test_planted_shares_are_measured_right(validator):
    report = measure(loaded(planted_model(ODDS)), prompts(planted_records()))
    document = report.to_dict()
    validator.validate(document)
    rows = {row["profession"]: row for row in document["professions"]}
    for name, (fact, _) in PROFESSIONS.items():
        assert rows[name]["model_share"] == pytest.approx(PLANTED[name], abs=1e-6)
        assert rows[name]["share_female"] == fact
        assert rows[name]["fb"] == pytest.approx(abs(PLANTED[name] - fact), abs=1e-6)
        total = sum(ODDS[name])
        assert rows[name]["gender_mass"] == pytest.approx(total / (total + 512 - 3), rel=1e-5)
        assert rows[name]["n"] == 3
    gaps = [PLANTED[name] - fact for name, (fact, _) in PROFESSIONS.items()]
    assert report.fb_score == pytest.approx(100 * np.mean(np.abs(gaps)), abs=1e-4)
    assert document["lean"] == pytest.approx(100 * np.mean(gaps), abs=1e-4)
    distances = [abs(PLANTED[name] - 0.5) for name in PLANTED]
    assert document["parity_gap"] == pytest.approx(100 * np.mean(distances), abs=1e-4)
    facts = [fact for fact, _ in PROFESSIONS.values()]
    assert document["baselines"]["always_male"] == pytest.approx(100 * np.mean(facts))
    assert document["low_mass_share"] == pytest.approx(0.2)  # the kindergarten teacher's 2 of 511


def test_fixed_logits_by_hand():
    model = tiny_model("phi")
    tokenizer = tiny_tokenizer()
    male, female = (tokenizer(text)["input_ids"][0] for text in (" he", " she"))
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[male] = math.log(300)
        model.lm_head.bias[female] = math.log(100)
    rows = [dataclasses.replace(row, male=(" he",), female=(" she",)) for row in planted_records()]
    report = measure(loaded(model), prompts(rows))
    expected = 100 * np.mean([abs(0.25 - fact) for fact, _ in PROFESSIONS.values()])
    assert report.fb_score == pytest.approx(expected, abs=1e-4)
    assert report.to_dict()["gender_mass"] == pytest.approx(400 / (400 + 510), rel=1e-5)


def test_breakdowns_agree_with_a_plain_recomputation(validator):
    report = measure(tiny("llama"), prompts())
    document = report.to_dict()
    validator.validate(document)
    columns = report.records
    fb, names = np.array(columns["fb"]), np.array(columns["profession"])
    kinds = {row.id: row.surface for row in load_templates()}
    columns["surface"] = [kinds.get(name, "") for name in columns["template"]]
    for key in ("template", "polarity", "group", "modifier", "split", "language", "surface"):
        labels = np.array(columns[key])
        rows = document[f"by_{key}"]
        assert [row[key] for row in rows] == list(dict.fromkeys(columns[key]))
        assert sum(row["prompts"] for row in rows) == len(fb)
        for row in rows:
            inside = labels == row[key]
            means = [fb[inside & (names == name)].mean() for name in set(names[inside])]
            assert row["fb_score"] == pytest.approx(100 * np.mean(means))
            assert row["professions"] == len(means)
    counted = sum(sum(counts) for counts in document["histogram"]["by_polarity"].values())
    assert counted == len(fb)
    assert len(document["by_template_group"]) == 3 * 4
    share = 1 / (1 + np.exp(np.array(columns["log_male"]) - np.array(columns["log_female"])))
    assert np.allclose(share, columns["model_share"])


def test_a_reference_without_variation_has_no_amplification(validator):
    rows = [dataclasses.replace(row, share_female=0.5) for row in planted_records()]
    document = measure(loaded(planted_model(ODDS)), prompts(rows, "parity")).to_dict()
    validator.validate(document)
    assert document["amplification"] is None
    assert document["amplification_ci95"] is None
    assert document["fb_score"] == pytest.approx(document["parity_gap"])


def test_says_what_a_reader_must_know():
    tiny_sample = measure(tiny("llama"), prompts()).warnings
    assert any("tiny sample: 45 prompts about 5 professions" in text for text in tiny_sample)
    assert not any("bfloat16" in text for text in tiny_sample)
    rough = tiny("llama", dtype="bfloat16")
    rough.quantization = "bitsandbytes"
    report = measure(rough, prompts())
    assert report.notes[0].startswith("measured in bfloat16: batching alone moves")
    said = " / ".join(report.warnings)
    assert "measured in" not in said  # a matter of the method, not a reason to distrust
    assert "quantised (bitsandbytes)" in said
    silent = dict.fromkeys(ODDS, (1e-6, 1e-6, 1e-6))
    low = measure(loaded(planted_model(silent)), prompts(planted_records())).warnings
    assert low[0].startswith("on 100% of the prompts the model gives gendered words less than 1%")


def test_from_a_checkpoint_with_the_files_of_the_package(tmp_path, validator):
    path = save(tmp_path / "model", tiny_model("gpt2"))
    report = audit(str(path), limit=12, dtype="float32")
    document = report.to_dict()
    validator.validate(document)
    assert document["dataset"]["prompts"] == 12
    assert document["dataset"]["reference"] == "bls-2022"
    assert document["dataset"]["limit"] == 12
    assert "chosen_professions" not in document["dataset"]
    assert document["model"]["id"] == str(path)
    assert document["model"]["revision"] is None
    assert document["patch"] is None
    same = audit(str(path), AuditConfig(limit=12), dtype="float32").to_dict()
    assert {**same, "seconds": 0} == {**document, "seconds": 0}
    json.dumps(document, allow_nan=False)


def test_the_command_on_a_card_asks_the_same_questions(tmp_path, monkeypatch):
    """Of a part of an old configuration, in another dtype and drawn with another seed than usual."""
    path = save(tmp_path / "model", tiny_model("gpt2"))
    monkeypatch.chdir(tmp_path)
    Path("professions.txt").write_text("nurse\ncarpenter\ntruck driver\n")
    part = {"professions": Path("professions.txt"), "limit": 6, "seed": 3, "dtype": "bfloat16"}
    document = audit(str(path), "core@1", **part).to_dict()
    words = shlex.split(audit_command(document, str(path)))
    result = CliRunner().invoke(app, [*words[1:], "--json"])
    assert result.exit_code == 0, result.output
    again = json.loads(result.stdout)
    for key in ("prompts_digest", "fb_score", "ci95"):
        assert again[key] == document[key]


def test_audit_of_a_patch_equals_audit_of_the_edited_model(tmp_path):
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.patches.patch import Patch

    path = save(tmp_path / "model", tiny_model("llama"))
    own = write_prompts(tmp_path / "prompts.jsonl", records())
    base, edited = load_model(path), load_model(path)
    edited.model.model.layers[1].mlp.down_proj.weight.data[:8] *= -1
    patch = Patch.from_models(base, edited)
    patch.save(tmp_path / "patch.safetensors")
    before = audit(path, prompts=own)
    after = audit(path, prompts=own, patch=tmp_path / "patch.safetensors")
    direct = audit(edited, prompts=own)
    assert after.to_dict()["patch"] == patch.digest
    assert after.fb_score == direct.fb_score != before.fb_score
    assert before.fb_score == audit(base, prompts=own).fb_score
    assert after.to_dict()["batch_plan"] == before.to_dict()["batch_plan"]


def test_gate():
    report = measure(loaded(planted_model(ODDS)), prompts(planted_records()))
    report.check_gate(report.fb_score)
    with pytest.raises(GateNotMet, match="is above the allowed 1"):
        report.check_gate(1)
    assert GateNotMet.exit_code == 3
    for never in (float("nan"), float("inf"), -1, 100.5):
        with pytest.raises(UsageError, match="can be no limit; give a number from 0 to 100"):
            report.check_gate(never)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(limit=0), "limit"),
        (dict(config="huge"), "configuration"),
        (dict(split="unseen"), "split"),
        (dict(reference="absent.csv"), "absent.csv"),
        (dict(prompts="absent.jsonl"), "absent.jsonl"),
        (dict(professions=("wizard",)), "wizard"),
        (dict(batch_size=0), "batch size"),
        (dict(records="xlsx", out="x"), "one of parquet, jsonl"),
        (dict(records="jsonl"), "--out"),
        (dict(samples=0), "samples is 0"),
        (dict(resume=True), "resume needs"),
    ],
)
def test_bad_options_are_one_line(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BiasEditError, match=message) as caught:
        audit(tiny("llama"), **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_report_as_a_data_frame_and_as_text():
    report = measure(tiny("llama"), prompts())
    frame = report.to_pandas()
    assert list(frame.columns) == list(report.records)
    assert len(frame) == 45
    means = 100 * frame.groupby("profession")["fb"].mean()
    assert means.mean() == pytest.approx(report.fb_score)
    text = report.table(width=100)
    assert f"{report.fb_score:.2f}" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
