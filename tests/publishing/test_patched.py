"""Loading a model from a patch alone, and checking files against the Hub's hashes."""

from __future__ import annotations

import pytest
import torch
from huggingface_hub import constants

from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.pull import pull_model
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.hub.verification import announced_hashes, verify_source
from hfbiasedit.publishing.patched import load_patched
from hfbiasedit.publishing.push import push
from tests.publishing.runs import (
    BASE,
    EDITED,
    checkpoint_files,
    make_base,
    make_run,
    patch_of,
    shard_of,
)


def rows(loaded):
    return dict(loaded.model.named_parameters())[EDITED][[1, 5, 9]]


def expected_rows(run):
    """The new values, read from the file without the code under test."""
    from safetensors.torch import load_file

    return load_file(run / "patch.safetensors")[f"{EDITED}.new"]


@pytest.mark.parametrize("what", ["model", "patch"])
def test_from_a_repository_with_the_base_at_its_commit(hub_client, base, run, what):
    edited_commit = base.head
    push(run, "alice/published", what=what)
    touched = shard_of(checkpoint_files())
    base.write({touched: b"somebody trains on"})  # the branch has moved since
    loaded = load_patched("alice/published")
    assert loaded.source.id == BASE
    assert loaded.source.commit == edited_commit
    assert loaded.patch_digest == patch_of(BASE, edited_commit).digest
    assert torch.equal(rows(loaded), expected_rows(run))


def test_from_a_run_directory_and_a_file(hub_client, run):
    first, second = load_patched(run), load_patched(str(run / "patch.safetensors"))
    assert torch.equal(rows(first), rows(second))
    assert torch.equal(rows(first), expected_rows(run))


def test_the_published_model_is_the_patched_one_for_plain_transformers(hub_client, run):
    from transformers import AutoModelForCausalLM

    push(run, "alice/published")
    plain = AutoModelForCausalLM.from_pretrained(pull_model("alice/published").path)
    patched = load_patched("alice/published").model
    theirs, ours = plain.state_dict(), patched.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_a_base_of_ones_own(hub_client, base, run, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, data in checkpoint_files().items():
        (folder / name).write_bytes(data)
    assert torch.equal(rows(load_patched(run, base=folder)), expected_rows(run))
    from safetensors.torch import load_file, save_file

    weights = folder / shard_of(checkpoint_files())
    tensors = load_file(weights)
    tensors[EDITED][1, 0] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BiasEditError, match="down_proj"):
        load_patched(run, base=folder)


def test_a_patch_of_the_demo_model_finds_it_anywhere(hub_client, tmp_path):
    """The README's own push and load; here the values are those of another small model."""
    push(make_run(tmp_path / "run", "demo"), "alice/demo-fix", what="patch")
    with pytest.raises(BiasEditError, match="model.layers.1.mlp.down_proj"):
        load_patched("alice/demo-fix")  # found, compared, refused


def test_a_patch_for_a_directory_that_is_not_here(hub_client, tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", "/home/somebody/model")
    with pytest.raises(
        BiasEditError, match=r"local directory /home/somebody/model.*name it with --base "
    ):
        load_patched(run)
    # A stranger's patch cannot point at directories of this machine.
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    patch_of("./model", None).save(tmp_path / "p.safetensors")
    data = (tmp_path / "p.safetensors").read_bytes()
    hub_client.create_repo("bob/patch", {"patch.safetensors": data})
    with pytest.raises(BiasEditError, match="which is not here"):
        load_patched("bob/patch")


def test_verification_counts_and_finds_a_flipped_bit(hub_client, base):
    source = pull_model(BASE)
    files = [p for p in source.path.rglob("*") if p.is_file()]
    assert verify_source(source) == len(files)
    for name in (shard_of(checkpoint_files()), "config.json"):
        blob = (source.path / name).resolve()
        original = blob.read_bytes()
        blob.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(BiasEditError, match=f"{name} of {BASE} is damaged in the cache"):
            verify_source(source)
        blob.write_bytes(original)
    assert verify_source(source, ["config.json"]) == 1


def test_verification_without_links_asks_the_hub(hub_client, base, tmp_path, capsys, monkeypatch):
    cached = pull_model(BASE)
    folder = tmp_path / "windows"
    folder.mkdir()
    for name in checkpoint_files():
        (folder / name).write_bytes((cached.path / name).read_bytes())
    source = ModelSource(BASE, folder, None, cached.commit)
    names = list(checkpoint_files())
    assert announced_hashes(source, names) == announced_hashes(cached, names)
    (folder / "config.json").write_bytes(b"{}")
    with pytest.raises(BiasEditError, match=r"config.json .* damaged"):
        verify_source(source)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert verify_source(source) == 0
    assert "unverified" in capsys.readouterr().err


def test_a_local_directory_has_nothing_to_verify(tmp_path):
    assert verify_source(ModelSource("here", tmp_path)) == 0


def test_what_is_no_patch(hub_client, tmp_path):
    with pytest.raises(BiasEditError, match="holds no patch"):
        load_patched(tmp_path)
    with pytest.raises(BiasEditError, match="no patch at"):
        load_patched("neither/a/hub-id")
    make_base(hub_client, "acme/plain")
    with pytest.raises(BiasEditError, match="holds no patch"):
        load_patched("acme/plain")
