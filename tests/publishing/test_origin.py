"""A run from a local directory gets a name on the Hub only after the edited tensors were compared."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from hfbiasedit.cards.model_card import render_card
from hfbiasedit.cli.app import app
from hfbiasedit.documents.runs import Run
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.publishing.origin import find_base, name_base
from hfbiasedit.publishing.patched import load_patched
from hfbiasedit.publishing.push import push
from tests.publishing.runs import (
    BASE,
    EDITED,
    checkpoint_files,
    make_run,
    patch_of,
    shard_of,
)


@pytest.fixture
def folder(tmp_path):
    """The base model as a directory of this machine."""
    path = tmp_path / "secret" / "coder"
    path.mkdir(parents=True)
    for name, data in checkpoint_files().items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def run(folder, tmp_path):
    return make_run(tmp_path / "run", str(folder))


def test_the_same_files_here_are_not_fetched(hub_client, base, folder):
    found = find_base(BASE, patch_of(str(folder), None), folder)
    assert found == {"id": BASE, "revision": base.head, "tensors": 1}
    assert not any(
        "resolve" in r.path and r.path.endswith(".safetensors") for r in hub_client.records
    )


def test_without_the_directory_the_edited_tensor_is_fetched_and_nothing_else(hub_client, base):
    patch = patch_of("/gone", None)
    assert find_base(f"{BASE}@main", patch)["revision"] == base.head
    size = patch.tensors[EDITED].numel * 2
    whole = sum(len(d) for n, d in checkpoint_files().items() if n.endswith(".safetensors"))
    fetched = sum(r.sent for r in hub_client.records if r.host == "cdn" and r.method == "GET")
    assert size <= fetched < whole


@pytest.mark.parametrize("here", [True, False])
def test_another_model_of_the_same_shape_is_refused(hub_client, folder, run, here):
    other = dict(checkpoint_files())
    weights = folder / shard_of(other)
    tensors = load_file(weights)
    tensors[EDITED][0, 0] += 1
    changed = folder.parent / "changed.safetensors"
    save_file(tensors, changed, metadata={"format": "pt"})
    hub_client.create_repo("acme/other", other | {weights.name: changed.read_bytes()})
    if not here:
        shutil.rmtree(folder)
    before = (run / "edit.json").read_bytes()
    with pytest.raises(BiasEditError, match=r"acme/other at commit \w+ is not the base.*down_proj"):
        name_base(Run.open(run), "acme/other")
    assert (run / "edit.json").read_bytes() == before


def test_repositories_that_cannot_be_the_base(hub_client, run):
    hub_client.create_repo("acme/bin", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(BiasEditError, match="no safetensors weights"):
        name_base(Run.open(run), "acme/bin")
    hub_client.create_repo("acme/broken", {"model.safetensors": b"\x00" * 64})
    with pytest.raises(BiasEditError, match="not a valid safetensors file"):
        name_base(Run.open(run), "acme/broken")


def test_a_run_of_a_hub_model_needs_no_name(hub_client, base, tmp_path):
    run = make_run(tmp_path / "hub-run", BASE, base.head)
    with pytest.raises(UsageError, match="leave --base-model out"):
        name_base(Run.open(run), BASE)


def test_card_and_publication_speak_of_the_hub_model_only(hub_client, base, folder, run):
    result = CliRunner().invoke(app, ["card", str(run), "--base-model", BASE])
    assert result.exit_code == 0, result.output
    header = yaml.safe_load((run / "README.md").read_text().split("---\n")[1])
    assert header["base_model"] in (BASE, [BASE])
    assert header["license"] == "mit"
    push(run, "alice/fix", what="patch")
    files = hub_client.repo("alice/fix").files()
    for name in ("README.md", "edit.json", "audit.before.json", "patch.safetensors"):
        assert b"secret" not in files[name], name
    assert json.loads(files["audit.after.json"])["model"]["revision"] == base.head
    shutil.rmtree(folder)
    assert load_patched("alice/fix").source.commit == base.head


def test_a_model_is_copied_from_the_named_base(hub_client, base, folder, run):
    result = push(run, "alice/edited", base_model=BASE)
    done = {file.path: file.action for file in result.plan.files}
    touched = shard_of(checkpoint_files())
    shards = {name for name in checkpoint_files() if name.endswith(".safetensors")}
    assert {path for path, action in done.items() if action == "copy"} == shards - {touched}


@pytest.mark.parametrize("what", ["model", "patch"])
def test_without_a_name_no_line_of_the_card_would_fail(hub_client, folder, run, what):
    text = render_card(run, what=what, repo_id="alice/edited")
    assert "a local model" in text
    assert "secret" not in text
    assert 'load_patched("alice/edited")' not in text
    assert "path/to" not in text
    lines = [line for line in text.splitlines() if line.startswith("hfbiasedit ")]
    for line in lines:  # only what the repository itself provides, or a plain MODEL
        assert line.split()[1] in ("audit", "edit") or "alice/edited alice/edited" in line, line


def test_a_published_patch_loads_with_a_directory(hub_client, folder, run):
    push(run, "alice/fix", what="patch")
    with pytest.raises(BiasEditError, match=r"in Python base="):
        load_patched("alice/fix")
    loaded = load_patched("alice/fix", base=folder)
    expected = load_file(run / "patch.safetensors")[f"{EDITED}.new"]
    assert loaded.model.get_parameter(EDITED)[[1, 5, 9]].equal(expected)


def test_a_published_model_goes_back_to_its_base(hub_client, folder, run, tmp_path):
    """The card's own line."""
    push(run, "alice/edited")
    out = tmp_path / "base-model"
    words = ["patch", "revert", "alice/edited", "alice/edited", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    shard = shard_of(checkpoint_files())
    assert (out / shard).read_bytes() == checkpoint_files()[shard]


def test_the_demo_model_is_named_as_what_everybody_has(hub_client, tmp_path):
    run = make_run(tmp_path / "run", "demo")
    text = render_card(run, what="patch", repo_id="alice/fix")
    assert "the demo model of hfbiasedit" in text
    assert "hfbiasedit patch apply demo alice/fix --out edited-model" in text
    assert "license: apache-2.0" in text
