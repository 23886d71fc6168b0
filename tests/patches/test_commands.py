"""`hfbiasedit patch ...` on the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hfbiasedit import resources
from hfbiasedit.checkpoints import marks
from hfbiasedit.cli.app import app
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.patch import Patch
from tests.patches.small import (
    assert_bits,
    expected_bits,
    fingerprint,
    make_checkpoint,
    sample_edits,
    save_patch,
)

EMBED = "model.embed.weight"


@pytest.fixture
def room(tmp_path, monkeypatch):
    bits = make_checkpoint(tmp_path / "base")
    edits = sample_edits(bits)
    save_patch(tmp_path / "p.safetensors", edits, base_model="org/base", granularity="row")
    monkeypatch.chdir(tmp_path)
    return tmp_path, bits, edits


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["patch", *map(str, arguments)])
    assert result.exit_code == status, result.output
    if status == 0:
        assert result.exception is None
    return result


def test_show(room):
    path, _, edits = room
    text = run("show", "p.safetensors").stdout
    assert "org/base" in text
    assert Patch(edits).digest in text
    document = json.loads(run("show", "p.safetensors", "--model", "base", "--json").stdout)
    assert document["weights"] == Patch(edits).weights
    assert document["file_bytes"] == (path / "p.safetensors").stat().st_size
    assert 0 < document["share"] < 1
    assert document["layers"] == {"": 18, "0": 11, "1": 27}


def test_apply_verify_revert(room):
    path, bits, edits = room
    assert run("verify", "base", "p.safetensors").stdout == "not applied\n"
    result = run("apply", "base", "p.safetensors", "--out", "out")
    assert result.stdout.startswith("applied: 56 weights in 5 tensors")
    assert_bits(path / "out", expected_bits(bits, edits))
    assert run("verify", "out", "p.safetensors").stdout == "applied\n"
    document = json.loads(run("verify", "out", "p.safetensors", "--json").stdout)
    assert document["state"] == "applied"
    run("revert", "out", "p.safetensors", "--out", "back")
    assert fingerprint(path / "back") == fingerprint(path / "base")
    document = json.loads(run("revert", "out", "p.safetensors", "--in-place", "--json").stdout)
    assert (document["direction"], document["in_place"]) == ("revert", True)
    assert fingerprint(path / "out") == fingerprint(path / "base")


def test_a_run_directory_stands_for_its_patch(room):
    path, _, _ = room
    (path / "run").mkdir()
    (path / "p.safetensors").rename(path / "run" / "patch.safetensors")
    run("apply", "base", "run", "--out", "out")
    assert run("verify", "out", "run").stdout == "applied\n"


def test_demo_is_not_changed_in_place(room, monkeypatch):
    path, _, _ = room
    (path / "package").mkdir()
    (path / "base").rename(path / "package" / "demo_model")
    monkeypatch.setattr(resources, "PACKAGE", path / "package")
    before = fingerprint(path / "package")
    result = run("apply", "demo", "p.safetensors", "--in-place", status=1)
    assert "came with the package" in str(result.exception)
    assert fingerprint(path / "package") == before


@pytest.mark.parametrize("command", ["apply", "revert"])
def test_a_run_is_not_replaced_by_a_checkpoint(room, command):
    path, _, _ = room
    (path / "run").mkdir()
    (path / "p.safetensors").rename(path / "run" / "patch.safetensors")
    before = fingerprint(path / "run")
    words = (command, "base", "run", "--out", "run")
    result = run(*words, "--overwrite", status=1)
    assert "something else than a checkpoint" in str(result.exception)
    run("apply", "base", "run", "--out", "out")
    run("apply", "base", "run", "--out", "out", "--overwrite")
    assert fingerprint(path / "run") == before


def test_neither_is_status_one(room):
    path, _, edits = room
    save_patch(path / "half.safetensors", {EMBED: edits[EMBED]})
    run("apply", "base", "half.safetensors", "--out", "half")
    result = run("verify", "half", "p.safetensors", status=1)
    assert result.stdout.splitlines()[0] == "mixed"
    assert f"  {EMBED}: applied" in result.stdout


def test_diff_and_combine(room):
    path, _, edits = room
    names = list(edits)
    save_patch(path / "a.safetensors", {name: edits[name] for name in names[:3]})
    save_patch(path / "b.safetensors", {name: edits[name] for name in names[2:]})
    run("combine", "a.safetensors", "b.safetensors", "--out", "ab.safetensors")
    assert Patch.load(path / "ab.safetensors") == Patch(edits)
    run("combine", "a.safetensors", "--out", "x.safetensors", status=2)
    run("apply", "base", "ab.safetensors", "--out", "out")
    run("diff", "base", "out", "--out", "d.safetensors")
    run("apply", "base", "d.safetensors", "--out", "again")
    assert fingerprint(path / "again") == fingerprint(path / "out")


def test_wrong_usage(room):
    run("apply", "base", "p.safetensors", status=2)
    run("apply", "base", "p.safetensors", "--out", "o", "--in-place", status=2)
    run("apply", status=2)


def test_failures_are_our_errors(room):
    path, _, _ = room
    for arguments in (
        ("show", "none.safetensors"),
        ("apply", "base", "base/config.json", "--out", "o"),
        ("apply", "./nowhere", "p.safetensors", "--out", "o"),
        ("revert", "base", "p.safetensors", "--out", "o"),
        ("recover", "base"),
    ):
        result = run(*arguments, status=1)
        assert isinstance(result.exception, BiasEditError), result.exception
    assert not (path / "o").exists()


@pytest.mark.parametrize("undo", [False, True])
def test_recover(room, undo):
    path, bits, edits = room
    goal = bits if undo else expected_bits(bits, edits)
    save_patch(path / "base" / marks.NAME, edits, journal={"reverse": False})
    run("verify", "base", "p.safetensors", status=1)
    run("recover", "base", *(["--undo"] if undo else []))
    assert_bits(path / "base", goal)
    assert not marks.pending(path / "base")


def test_terminal_escapes_in_metadata_are_not_printed(room):
    path, _, edits = room
    save_patch(path / "evil.safetensors", edits, created_by="\x1b[2J[bold]x", **{"k\x07": "v"})
    result = run("show", "evil.safetensors")
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    assert "[bold]x" in result.output
