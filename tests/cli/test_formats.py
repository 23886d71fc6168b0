"""`--format`: what is printed in each of them, and that no command is without JSON."""

from __future__ import annotations

import json

import pytest
import typer.main
from typer.testing import CliRunner

from hfbiasedit import console
from hfbiasedit.cli.app import COMMANDS, _leaves, app
from tests.publishing.runs import EDITED, make_run, patch_of
from tests.tiny import save_checkpoint, tiny_model


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_every_command_prints_json_and_takes_a_format():
    root = typer.main.get_command(app)
    for name in COMMANDS:
        for leaf in _leaves(root.get_command(None, name)):
            flags = {flag for parameter in leaf.params for flag in parameter.opts}
            assert "--json" in flags, (name, leaf.name)
            assert "--format" in flags, (name, leaf.name)


def test_the_three_formats_of_one_command(run):
    plain = invoke("patch", "show", run)
    assert "base_model" in plain.stdout
    document = json.loads(invoke("patch", "show", run, "--format", "json").stdout)
    assert document == json.loads(invoke("patch", "show", run, "--json").stdout)
    quiet = invoke("patch", "show", run, "--format", "quiet")
    assert quiet.stdout == document["digest"] + "\n"
    assert quiet.stderr == ""
    assert invoke("patch", "show", run, "--format", "table").stdout == plain.stdout
    wrong = invoke("patch", "show", run, "--format", "yaml")
    assert wrong.exit_code == 2
    assert "none of table, json, quiet" in wrong.output
    assert invoke("patch", "show", run, "--format", "quiet", "--json").exit_code == 2


def test_quiet_prints_a_score_or_a_path(run, tmp_path):
    model = save_checkpoint(tmp_path / "model")
    report = json.loads(invoke("audit", model, "--limit", 4, "--json").stdout)
    score = invoke("audit", model, "--limit", 4, "--format", "quiet").stdout
    assert float(score) == report["fb_score"]
    assert invoke("card", run, "--format", "quiet").stdout == f"{run / 'README.md'}\n"


def test_what_makes_a_patch_file_tells_of_it_in_json(tmp_path):
    patch = patch_of("org/base", None)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    patch.save(one)
    patch.save(two)
    out = tmp_path / "both.safetensors"
    document = json.loads(invoke("patch", "combine", one, two, "--out", out, "--json").stdout)
    weight = dict(tiny_model("llama", dtype="bfloat16").named_parameters())[EDITED][[1, 5, 9]]
    changed = int(((weight * 1.5 + 0.25).to(weight.dtype) != weight).sum())
    assert 0 < changed < patch.weights  # one of them stays as it is
    assert document == {
        "path": str(out), "digest": patch.digest, "tensors": 1, "weights": patch.weights,
        "changed": changed,
    }  # fmt: skip


def test_an_export_of_the_dataset_lists_its_files(tmp_path):
    words = ["dataset", "export", "--out", tmp_path / "data", "--config", "core", "--json"]
    document = json.loads(invoke(*words).stdout)
    assert "README.md" in document["files"]
    assert all((tmp_path / "data" / name).is_file() for name in document["files"])
    words = ["dataset", "export", "--out", tmp_path / "quiet", "--config", "core"]
    quiet = invoke(*words, "--records", "csv", "--format", "quiet")
    assert quiet.stdout == f"{tmp_path / 'quiet'}\n"
    assert list((tmp_path / "quiet").rglob("*.csv"))


@pytest.mark.parametrize("words", [["--quiet", "dataset", "show"], ["dataset", "show", "--quiet"]])
def test_what_one_run_says_is_not_what_the_next_one_says(words, capsys):
    """Programs and notebooks call commands one after the other."""
    assert CliRunner().invoke(app, words).exit_code == 0
    console.message("heard")
    assert "heard" in capsys.readouterr().err
