"""What memory does not hold as it is stored is said before an edit, and how to load it instead."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import load_model
from hfbiasedit.models.stored import check_exact, stored_dtypes
from tests.tiny import save_checkpoint

UP = "model.layers.0.mlp.up_proj.weight"
DOWN = "model.layers.0.mlp.down_proj.weight"
NORM = "model.norm.weight"


def checkpoint(folder, change=lambda tensors: None, *, as_bin=False, said=None):
    """A bfloat16 checkpoint with other tensors or another configuration."""
    save_checkpoint(folder, shard_size="5GB")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    if as_bin:
        file.unlink()
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, file, metadata={"format": "pt"})
    if said:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"dtype": said}))
    return folder


def widen(*names):
    def change(tensors):
        for name in names:
            tensors[name] = tensors[name].float() + 1e-6

    return change


@pytest.mark.parametrize("as_bin", [False, True])
def test_a_wider_tensor_is_refused_until_the_model_is_loaded_wide(tmp_path, as_bin):
    folder = checkpoint(tmp_path / "m", widen(UP, NORM), as_bin=as_bin)
    loaded = load_model(folder)
    assert loaded.dtype == "bfloat16"
    assert stored_dtypes(loaded, [UP, DOWN]) == {UP: (torch.float32,), DOWN: (torch.bfloat16,)}
    check_exact(loaded, [DOWN])  # what is left alone may be stored in any way
    with pytest.raises(
        BiasEditError,
        match=rf"^{UP}: float32 in the checkpoint and bfloat16 as loaded.*--dtype float32$",
    ):
        check_exact(loaded, [DOWN, UP])
    check_exact(load_model(folder, dtype="float32"), [DOWN, UP, NORM])


def test_a_configuration_that_names_another_dtype(tmp_path):
    folder = checkpoint(tmp_path / "m", said="float16")
    loaded = load_model(folder)
    assert loaded.dtype == "float16"
    with pytest.raises(BiasEditError, match="bfloat16 in the checkpoint and float16 as loaded"):
        check_exact(loaded, [UP])
    check_exact(load_model(folder, dtype="bfloat16"), [UP])


def test_parts_of_one_parameter_may_be_stored_apart(tmp_path):
    save_checkpoint(tmp_path / "m", "qwen2_moe", shard_size="5GB")
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    odd = "model.layers.0.mlp.experts.2.down_proj.weight"
    tensors[odd] = tensors[odd].float()
    save_file(tensors, file, metadata={"format": "pt"})
    loaded = load_model(tmp_path / "m")
    name = "model.layers.0.mlp.experts.down_proj"
    assert sorted(map(str, stored_dtypes(loaded, [name])[name])) == [
        "torch.bfloat16", "torch.bfloat16", "torch.bfloat16", "torch.float32",
    ]  # fmt: skip
    with pytest.raises(BiasEditError, match="float32 in the checkpoint"):
        check_exact(loaded, [name])


def test_a_model_without_files_has_nothing_to_compare(tmp_path):
    folder = checkpoint(tmp_path / "m")
    loaded = load_model(folder)
    (folder / "model.safetensors").unlink()
    assert stored_dtypes(loaded, [UP]) == {}
    check_exact(loaded, [UP])
