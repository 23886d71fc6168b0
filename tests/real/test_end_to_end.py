"""A real checkpoint through every command: audit, edit, patch, reload, ability, card.

    pytest tests/real --real CHECKPOINT

Some minutes and a few gigabytes for 135 million weights. Nothing is fetched.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from hfbiasedit import Patch, audit, edit, load_patched
from hfbiasedit.cli.app import app
from hfbiasedit.models.loading import load_model

pytestmark = [pytest.mark.real, pytest.mark.timeout(7200)]

PROMPTS = 96  # to learn from: enough to move something, few enough for minutes
PROBLEMS = Path(__file__).parents[1] / "abilities" / "problems.jsonl"


def _run(*words):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def edited(real_checkpoint, tmp_path_factory):
    """The run directory of a row edit that learned from few prompts."""
    folder = tmp_path_factory.mktemp("real") / "run"
    edit(real_checkpoint, granularity="row", limit=PROMPTS, seed=0, out=folder)
    return folder


@pytest.fixture(scope="module")
def patched(real_checkpoint, edited):
    """The checkpoint with the edit applied."""
    folder = edited.with_name("patched")
    _run("patch", "apply", real_checkpoint, edited, "--out", folder)
    return folder


def test_an_audit_says_more_than_a_coin(real_checkpoint):
    report = json.loads(_run("audit", real_checkpoint, "--limit", "60", "--json"))
    assert report["dataset"]["prompts"] == 60
    assert 0 < report["fb_score"] < 100
    assert report["ci95"][0] <= report["fb_score"] <= report["ci95"][1]
    assert 0 < report["gender_mass"] <= 1


def test_an_edit_keeps_what_it_promises(edited):
    made = json.loads((edited / "edit.json").read_text())
    assert 0 < made["selection"]["weights"] < 0.01 * made["model"]["parameters"]
    assert made["kl"]["mean"] <= made["kl"]["budget"]
    assert made["splits"]["edit"]["fb_after"] < made["splits"]["edit"]["fb_before"]
    for name in ("audit.before.json", "audit.after.json", "README.md", "report.html"):
        assert (edited / name).stat().st_size > 0


def test_the_patched_checkpoint_is_the_model_with_the_patch(real_checkpoint, edited, patched):
    """On disk, loaded by itself, and in memory: the same bits, and only those of the patch."""
    patch = Patch.load(edited / "patch.safetensors")
    base = load_model(str(real_checkpoint)).model.state_dict()
    memory = load_patched(edited, base=real_checkpoint).model.state_dict()
    disk = load_model(str(patched)).model.state_dict()
    changed = {name for name in base if not torch.equal(base[name], memory[name])}
    assert changed
    assert len(changed) <= 2 * len(patch.tensors)  # a tied weight has two names
    assert all(torch.equal(memory[name], disk[name]) for name in base)


def test_the_patched_checkpoint_scores_as_the_report_says(edited, patched):
    after = json.loads((edited / "audit.after.json").read_text())
    config, split = after["dataset"]["config"], after["dataset"]["split"]
    again = audit(str(patched), config=config, split=split)
    assert again.fb_score == pytest.approx(after["fb_score"], abs=0.02)


def test_a_patch_can_be_taken_back(real_checkpoint, edited, patched):
    folder = patched.with_name("reverted")
    _run("patch", "revert", patched, edited, "--out", folder)
    for path in sorted(Path(real_checkpoint).glob("*.safetensors")):
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_ability_is_measured_before_and_after(real_checkpoint, edited):
    tasks = ("--tasks", "perplexity,humaneval", "--documents", "4")
    few = ("--limit", "2", "--max-new-tokens", "48", "--problems", PROBLEMS)
    judged = ("--allow-code-execution", "--patch", edited / "patch.safetensors", "--json")
    found = json.loads(_run("ability", real_checkpoint, *tasks, *few, *judged))
    assert abs(found["perplexity"]["relative_change"]) < 0.05
    assert set(found["humaneval"]) >= {"before", "after"}


def test_a_card_can_be_made_again(edited):
    (edited / "README.md").unlink()
    _run("card", edited)
    text = (edited / "README.md").read_text()
    assert text.startswith("---\n")
    assert "FB-Score" in text
