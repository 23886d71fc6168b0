"""The model that is published is the one that was audited, in every file, not in the edited weights."""

from __future__ import annotations

import json
import shutil

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.publishing.push import push
from tests.publishing.runs import BASE, checkpoint_files, make_run, shard_of

REPO = "alice/edited"


@pytest.fixture
def folder(tmp_path):
    """The base model as a directory of this machine."""
    path = tmp_path / "coder"
    path.mkdir()
    for name, data in checkpoint_files().items():
        (path / name).write_bytes(data)
    return path


def spoil(folder):
    """Change a weight that no patch here edits."""
    files = checkpoint_files()
    shard = next(n for n in files if n.endswith(".safetensors") and n != shard_of(files))
    data = bytearray(files[shard])
    data[-1] ^= 1
    (folder / shard).write_bytes(data)
    return shard


def test_a_local_base_that_has_changed_since(hub_client, folder, tmp_path):
    run = make_run(tmp_path / "run", str(folder))
    kept = shutil.copytree(folder, tmp_path / "kept")
    spoil(folder)
    with pytest.raises(BiasEditError, match="is not, file by file, the model that was edited"):
        push(run, REPO)
    assert ("model", REPO) not in hub_client.repositories
    assert push(run, REPO, base=kept, dry_run=True).changed


def test_a_directory_in_place_of_a_model_of_the_hub(hub_client, run, folder):
    (folder / "notes.txt").write_text("about something else")
    assert push(run, REPO, base=folder, dry_run=True).changed
    shard = spoil(folder)
    (folder / "tokenizer_config.json").unlink()
    found = rf"not as in {BASE} at commit \w{{7}} are {shard}, tokenizer_config.json; "
    with pytest.raises(BiasEditError, match=found):
        push(run, REPO, base=folder)


def test_a_directory_that_nothing_can_be_compared_with(hub_client, run, folder):
    commit = json.loads((run / "edit.json").read_text())["model"]["revision"]
    hub_client.fault(f"/{BASE}/tree/{commit}", times=30, status=404)
    with pytest.raises(BiasEditError, match="publish the patch alone: --what patch"):
        push(run, REPO, base=folder)


def test_a_base_named_afterwards_must_be_the_same_in_every_file(hub_client, base, folder, tmp_path):
    run = make_run(tmp_path / "run", str(folder))
    shutil.rmtree(folder)
    assert push(run, REPO, base_model=BASE, dry_run=True).changed
    base.write({"tokenizer_config.json": b"{}"})
    with pytest.raises(BiasEditError, match=f"{BASE} is not, file by file"):
        push(run, REPO, base_model=BASE)


def test_a_run_of_an_older_version_has_no_digest(hub_client, folder, tmp_path, capsys):
    run = make_run(tmp_path / "run", str(folder))
    for name in ("edit.json", "audit.before.json", "audit.after.json", "ability.json"):
        document = json.loads((run / name).read_text())
        del document["model"]["digest"]
        (run / name).write_text(json.dumps(document))
    assert push(run, REPO, dry_run=True).changed
    assert "edit.json has no digest of the model" in capsys.readouterr().err


def test_documents_that_lie_in_the_base_are_not_published(hub_client, folder, tmp_path):
    run = make_run(tmp_path / "run", str(folder))
    (run / "ability.json").unlink()
    old = (
        "ability.json", "audit.json", "audit.before.json", "report.html", "figures/old.png",
        "patch/patch.safetensors", ".eval_results/codegenbias.yaml", "records.parquet",
    )  # fmt: skip
    for name in (*old, "notes/figures.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    push(run, REPO)
    published = hub_client.repo(REPO).files()
    assert not [name for name in old if published.get(name) == b"old"]
    assert "ability.json" not in published
    assert published["notes/figures.md"] == b"old"
