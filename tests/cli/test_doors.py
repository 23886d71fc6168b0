"""Wrong inputs and outputs are refused before a model is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hfbiasedit.audits import auditor
from hfbiasedit.cli import app as cli
from hfbiasedit.editing import editor, sweep
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models import loading
from tests.reports import fixtures

LOADING = ("audit", "locate", "edit", "sweep", "ability")
FAULTS = [
    *[(name, ["--out", "file/out"], "annot write") for name in LOADING],
    *[(name, ["--out", "file"], "is a file") for name in LOADING if name != "ability"],
    *[(name, ["--out", "full"], "full") for name in ("audit", "locate", "edit", "sweep")],
    ("ability", ["--out", "full.json"], "is a directory"),
    ("ability", ["--save-samples", "file/x"], "cannot write"),
    *[
        (name, [option, "absent.csv"], "absent.csv")
        for name in ("audit", "locate", "edit", "sweep")
        for option in ("--reference", "--prompts", "--professions")
    ],
    *[(name, ["--patch", "absent.safetensors"], "absent") for name in ("audit", "ability")],
    ("audit", ["--resume"], "nothing to resume"),
    ("audit", ["--resume", "--out", "new"], "nothing to resume"),
    *[
        (name, ["--anchor", anchor], anchor)
        for name in ("locate", "edit", "sweep")
        for anchor in ("absent.jsonl", "absent")
    ],
    *[(name, ["--blocks", "few"], "few") for name in ("locate", "edit")],
    *[(name, ["--seed", "-1"], "seed is -1") for name in LOADING],
    *[(name, ["--max-kl", "0"], "above 0") for name in ("edit", "sweep")],
    *[
        (name, ["--audit", asked, "--prompts", "own.jsonl"], "leave --prompts or --audit out")
        for name in ("edit", "sweep")
        for asked in ("core", "quick@1")
    ],
    ("edit", ["--include", "norms"], "include works with granularity full and layer only"),
    ("edit", ["--budget", "1% of weights", "--granularity", "layer"], "give a count"),
    ("edit", ["--budget", "auto", "--granularity", "full"], "auto is for granularity"),
    ("edit", ["--include", "norms", "--dry-run"], "include works with"),
    ("edit", ["--selection", "absent.json"], "absent.json"),
]
USAGE = ("--blocks", "--seed", "--max-kl", "--include", "--budget", "--audit")


@pytest.fixture
def loads(monkeypatch):
    """How often a model was loaded; loading ends the command."""
    count = []

    def refuse(*_, **__):
        count.append(1)
        raise AssertionError("a model is loaded")

    for module in (loading, auditor, editor, sweep):
        monkeypatch.setattr(module, "load_model", refuse)
    here = ModelSource("model", Path())  # `edit` asks for the room that its copy needs
    monkeypatch.setattr(editor, "resolve_model", lambda *given: here)
    return count


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    (tmp_path / "full.json").mkdir()

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbiasedit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capsys.readouterr().err

    return call


@pytest.mark.parametrize(("command", "arguments", "words"), FAULTS)
def test_refused_before_a_model_is_loaded(run, loads, tmp_path, command, arguments, words):
    before = sorted(tmp_path.rglob("*"))
    status, err = run(command, "model", *arguments)
    assert status == (2 if arguments[0] in USAGE else 1)
    assert words in err
    assert err.count("\n") == 1
    assert not loads
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", LOADING)
def test_without_a_fault_the_model_is_loaded(run, loads, command):
    assert run(command, "model")[0] == 1
    assert loads


@pytest.mark.parametrize("out", ["file", "full", "file/out"])
def test_demo_refuses_an_output_before_it_loads(run, loads, out):
    assert run("demo", "--out", out)[0] == 1
    assert not loads


@pytest.mark.parametrize("out", ["file", "full", "file/out"])
def test_applying_refuses_an_output_before_anything_is_read(run, out):
    status, err = run("patch", "apply", "org/absent", "org/absent-patch", "--out", out)
    assert status == 1
    assert out.split("/")[0] in err
    assert "Hub" not in err


def test_combine_and_diff_replace_nothing_unasked(run, tmp_path):
    for command in ("combine", "diff"):
        status, err = run("patch", command, "a.safetensors", "b.safetensors", "--out", "file")
        assert status == 1
        assert "--overwrite" in err
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.usefixtures("one_figure")
def test_a_card_that_somebody_changed_stays(run, tmp_path):
    folder = fixtures.write_run(tmp_path / "run", fixtures.documents(12))
    card = folder / "README.md"
    assert run("card", folder)[0] == 0
    assert run("card", folder, "--license", "mit")[0] == 0
    made = card.read_text()
    assert "license: mit" in made
    card.write_text(made + "Mine.\n")
    status, err = run("card", folder)
    assert status == 0
    assert "--overwrite" in err
    assert card.read_text() == made + "Mine.\n"
    assert run("card", folder, "--license", "mit", "--overwrite")[0] == 0
    assert card.read_text() == made


def test_a_card_without_its_template_draws_nothing(run, tmp_path):
    folder = fixtures.write_run(tmp_path / "run", fixtures.documents(12))
    before = sorted(folder.rglob("*"))
    assert run("card", folder, "--template", "absent")[0] == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", [["demo"], ["edit", "model"]])
def test_replacing_a_run_is_said_unless_it_is_asked_for(run, loads, tmp_path, command):
    folder = fixtures.write_run(tmp_path / "run", fixtures.documents(12))
    before = sorted(folder.rglob("*"))
    assert "earlier run" in run(*command, "--out", "run")[1]
    assert "earlier run" not in run(*command, "--out", "run", "--overwrite")[1]
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", [["demo"], ["edit", "model"]])
def test_a_run_with_something_of_ones_own_in_it_is_not_replaced(run, loads, tmp_path, command):
    folder = fixtures.write_run(tmp_path / "run", fixtures.documents(12))
    (folder / "thesis.txt").write_text("x")
    assert "thesis.txt" in run(*command, "--out", "run", "--overwrite")[1]
    assert not loads


def test_push_refuses_a_directory_that_is_no_run(run):
    status, err = run("push", "full", "me/x")
    assert status == 1
    assert "is not a run directory" in err
