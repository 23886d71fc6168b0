"""What strangers see: names of files, never where they are on this machine."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.documents.public import command_line, public, public_command, public_documents
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.documents.schemas import check_document
from hfbiasedit.documents.structures.edit_document import Edit
from tests.reports import fixtures

HUB = {"id": "acme/tiny", "revision": "1" * 40, "dtype": "float32", "parameters": 1}
LOCAL = {**HUB, "id": "models/tiny", "revision": None}


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_recorded_command_reads_back_to_its_words(words):
    assert shlex.split(command_line(words)) == ["hfbiasedit", *words]


@pytest.mark.parametrize(
    ("model", "command", "shown"),
    [
        (HUB, "hfbiasedit edit acme/tiny --seed 0", "hfbiasedit edit acme/tiny --seed 0"),
        (HUB, "hfbiasedit edit acme/tiny --out runs/x", "hfbiasedit edit acme/tiny --out x"),
        (HUB, "hfbiasedit edit acme/tiny@main", "hfbiasedit edit acme/tiny@main"),
        (LOCAL, "hfbiasedit edit models/tiny", "hfbiasedit edit MODEL"),
        (LOCAL, "hfbiasedit edit 'models/tiny'", "hfbiasedit edit MODEL"),
        (
            HUB,
            "hfbiasedit edit acme/tiny --prompts='/home/ada/my prompts.jsonl'",
            "hfbiasedit edit acme/tiny '--prompts=my prompts.jsonl'",
        ),
        (
            HUB,
            "hfbiasedit edit acme/tiny --anchor bigcode/the-stack --budget '0.1% of weights'",
            "hfbiasedit edit acme/tiny --anchor bigcode/the-stack --budget '0.1% of weights'",
        ),
        (HUB, "hfbiasedit edit acme/tiny --anchor ../code", "hfbiasedit edit acme/tiny --anchor code"),
        (HUB, "hfbiasedit edit acme/tiny --out it's", "hfbiasedit edit acme/tiny --out 'it'\"'\"'s'"),
    ],
)  # fmt: skip
def test_the_command_keeps_hub_ids_and_drops_folders(model, command, shown):
    assert _option(public_command(command, model)) == _option(shown)


def _option(command):
    """`--x=a b` may be quoted whole or in part."""
    return shlex.split(command)


def test_the_documents_of_a_local_run_name_no_folder(tmp_path):
    made = fixtures.documents(12)
    home = "/home/ada/secret"
    for document in made.values():
        document["model"].update(id=f"{home}/coder", revision=None)
    for side in ("before", "after"):
        made[side]["reference"] = made[side]["dataset"]["reference"] = f"{home}/shares.csv"
    edit = made["edit"]
    edit["reference"] = f"{home}/shares.csv"
    edit["command"] = command_line(["edit", f"{home}/coder", "--out", f"{home}/run"])
    edit["options"].update(
        prompts=f"{home}/p.jsonl", selection=f"{home}/s.json", professions=None, anchor=f"{home}/x"
    )
    edit["anchor"]["name"] = f"{home}/x"
    made["ability"]["perplexity"]["text"]["name"] = f"{home}/code"
    run = fixtures.write_run(tmp_path / "run", made)
    opened = open_documents(run)
    shown = public_documents(opened)
    text = json.dumps([shown.before, shown.after, shown.edit, shown.ability])
    assert "ada" not in text
    assert shown.edit["command"] == "hfbiasedit edit MODEL --out run"
    assert shown.before["dataset"]["reference"] == "shares.csv"
    check_document(shown.edit, Edit, "")
    assert open_documents(run) == opened  # the run itself keeps what can be pasted
    assert opened.edit["command"].startswith(f"hfbiasedit edit {home}")


def test_a_local_model_goes_by_its_checked_name_on_the_hub():
    base = {"id": "acme/tiny", "revision": "1" * 40, "tensors": 3}
    command = "hfbiasedit edit models/tiny --base-model acme/tiny@main --seed 1"
    assert public_command(command, LOCAL, base) == "hfbiasedit edit acme/tiny --seed 1"
    metadata = {"base_model": "models/tiny", "granularity": "row"}
    assert public(metadata, LOCAL, base) == {
        "base_model": "acme/tiny",
        "base_revision": "1" * 40,
        "granularity": "row",
    }
    assert public({"model": dict(LOCAL)}, LOCAL, base)["model"] == HUB


def test_the_metadata_of_a_patch_is_shortened_too():
    metadata = {
        "base_model": "/home/ada/coder",
        "edit": {"options": {"anchor": "/home/ada/code", "steps": 3}, "seed": 0},
    }
    assert public(metadata, LOCAL) == {
        "base_model": "coder",
        "edit": {"options": {"anchor": "code", "steps": 3}, "seed": 0},
    }
    of_the_hub = {"base_model": "acme/tiny", "base_revision": "1" * 40}
    assert public(of_the_hub, HUB) == of_the_hub
