"""`hfbiasedit dataset`: what it prints, and that mistakes end as one line."""

import json
import sys

import pytest
from typer.testing import CliRunner

from hfbiasedit.cli.app import app, main
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.errors import BiasEditError
from tests.hub_server.fixtures import hub, hub_client  # noqa: F401


def run(*arguments):
    return CliRunner().invoke(app, ["dataset", *map(str, arguments)])


def shown(*arguments):
    result = run("show", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_show_counts_and_examples():
    text = run("show", "--examples", 1).stdout
    assert "600" in text
    assert "edit 184, dev 60" in text
    assert "women, reference" in text
    summary = shown("--config", "core", "--split", "test", "--examples", 3)
    assert summary["prompts"] == 1476 + 1242
    assert summary["splits"] == {"test_modifiers": 1476, "test_professions": 1242}
    assert summary["digest"] == load_prompts("core", "test").digest
    assert len(summary["examples"]) == 3
    assert summary["version"] == 2
    assert summary["vocabularies"] == {"male/female": 2718}
    assert shown("--config", "core@1", "--split", "dev")["version"] == 1


def test_show_an_axis():
    rows = shown("--axis", "professions")
    assert len(rows) == 315
    assert sum(row["held_out"] for row in rows) == 69
    assert len(shown("--axis", "modifiers")) == 24
    templates = shown("--axis", "templates")
    assert {row["role"] for row in templates} == {"edit", "dev", "test"}
    assert {"id", "note", "surface", "language", "vocabulary"} <= set(templates[0])
    assert {"text", "male", "female"} == set(templates[0]["texts"][0])
    for axis in ("professions", "modifiers", "templates"):
        assert run("show", "--axis", axis).exit_code == 0


def test_show_one_profession():
    facts = shown("--profession", "Nurses")
    assert facts["occupation"] == "Registered nurses"
    assert (facts["bls-2022"], facts["bls-2021"]) == (0.879, 0.867)
    assert "Registered nurses" in run("show", "--profession", "nurse").stdout
    assert isinstance(run("show", "--profession", "wizard").exception, BiasEditError)


def test_show_own_prompts(tmp_path):
    path = tmp_path / "my.jsonl"
    row = {"prompt": "[red]x[/red]", "profession": "nurse", "male": ["he"], "female": ["she"]}
    path.write_text(json.dumps(row) + "\n")
    result = run("show", "--prompts", path)
    assert "[red]x[/red]" in result.stdout
    assert shown("--prompts", path)["config"] == "custom"


def test_export(tmp_path):
    out = tmp_path / "out"
    result = run("export", "--config", "quick", "--records", "jsonl", "--out", out)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert load_prompts(prompts=out / "data/quick").digest == load_prompts("quick").digest
    assert "with --replace" in str(run("export", "--out", out).exception)
    again = run("export", "--config", "quick", "--out", out, "--replace")
    assert again.exit_code == 0
    assert not (out / "data/quick/edit.jsonl").exists()


def test_push(hub_client):  # noqa: F811
    result = run("push", "alice/data", "--config", "quick", "--dry-run")
    assert result.exit_code == 0, result.exception
    assert "data/quick/edit.parquet" in result.stdout
    result = run("push", "alice/data", "--config", "quick", "--json")
    assert json.loads(result.stdout)["type"] == "dataset"
    result = run("push", "alice/data", "--config", "quick")
    assert result.stdout.strip() == f"{hub_client.url}/datasets/alice/data"


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "--axis", "colours"),
        ("export", "--out", "x", "--config", "huge"),
        ("export", "--out", "x", "--records", "xml"),
        ("show", "--split", "train"),
        ("show", "--config", "huge"),
        ("export",),
        ("push",),
        ("show", "--examples", "-1"),
    ],
)
def test_wrong_usage_exits_2(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hfbiasedit", "dataset", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "--reference", "bls-1850"),
    ],
)
def test_unknown_names_end_as_one_line(arguments):
    error = run(*arguments).exception
    assert isinstance(error, BiasEditError)
    assert "use" in str(error)
