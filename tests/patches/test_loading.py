from __future__ import annotations

import pytest
import torch

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from hfbiasedit.patches.loading import with_patch
from hfbiasedit.patches.patch import Patch
from tests.tiny import save_checkpoint


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
