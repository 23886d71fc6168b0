from __future__ import annotations

import pytest
import torch

from hfbiasedit import audit
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.building import Change
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from tests.scoring.worlds import records, write_prompts
from tests.tiny import save_checkpoint

WEIGHT = "model.layers.0.mlp.down_proj.weight"


def test_patch_is_applied_in_memory(tmp_path):
    checkpoint, path = save_checkpoint(tmp_path / "llama"), tmp_path / "p.safetensors"
    base, edited = load_model(checkpoint), load_model(checkpoint)
    weight = edited.model.model.layers[0].mlp.down_proj.weight
    weight.data[3] += 1
    Patch.from_models(base, edited).save(path)
    assert with_patch(base, None) is base
    assert base.patch_digest is None
    patched = with_patch(load_model(checkpoint), path)
    assert torch.equal(patched.model.model.layers[0].mlp.down_proj.weight, weight)
    assert patched.patch_digest == Patch.load(path).digest
    other = load_model(save_checkpoint(tmp_path / "other", seed=5))
    with pytest.raises(BiasEditError, match="patch") as caught:
        with_patch(other, path)
    assert "\n" not in str(caught.value)
    assert other.patch_digest is None


def rows(loaded, row):
    """A patch of one row of a model."""
    weight = loaded.model.get_parameter(WEIGHT)
    new = weight.data[row : row + 1] + 1
    return Patch.from_changes(loaded, {WEIGHT: Change("rows", torch.tensor([row]), new)})


def test_audits_name_the_patch_that_a_model_has(tmp_path):
    loaded = load_model(save_checkpoint(tmp_path / "llama"))
    prompts = write_prompts(tmp_path / "prompts.jsonl", records()[:2])
    patch = rows(loaded, 1)

    def named(model):
        with patch.applied(model):
            return audit(loaded, prompts=prompts).document["patch"]

    assert named(loaded) == named(loaded.model) == patch.digest
    assert audit(loaded, prompts=prompts).document["patch"] is None
    with patch.applied(loaded):  # its own digest is of the weights as they are
        report = audit(loaded.model, tokenizer=loaded.tokenizer, prompts=prompts).document
    assert report["patch"] is None
    assert report["model"]["digest"] != loaded.identity


def test_several_patches_are_told_from_each_of_them(tmp_path):
    loaded = load_model(save_checkpoint(tmp_path / "llama"))
    one, two = rows(loaded, 1), rows(loaded, 2)
    one.apply_(loaded)
    two.apply_(loaded)
    assert loaded.patch_digest not in (None, one.digest, two.digest)
    one.revert_(loaded)
    assert loaded.patch_digest == two.digest
    two.reverse().apply_(loaded)
    assert loaded.patch_digest is None


def test_what_is_taken_back_from_the_files_is_a_change_too(tmp_path):
    checkpoint = save_checkpoint(tmp_path / "llama")
    patch = rows(load_model(checkpoint), 1)
    apply_patch(checkpoint, patch, tmp_path / "patched")
    loaded = load_model(tmp_path / "patched")
    patch.revert_(loaded)
    assert loaded.patch_digest == patch.reverse().digest
    patch.apply_(loaded)
    assert loaded.patch_digest is None
