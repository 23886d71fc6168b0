"""Every family: patch the files, load them, compare with the edit made in memory, take it back."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from tests.patches.edits import assert_same_bits, parameters, random_changes, stored_tensors
from tests.tiny import FAMILIES, tiny_model


@pytest.mark.parametrize("made_from", ["new", "loaded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip_through_files(family, made_from, tmp_path):
    model = tiny_model(family, dtype="bfloat16")
    base = tmp_path / "base"
    model.save_pretrained(base, max_shard_size="40KB")
    assert (base / "model.safetensors.index.json").exists()
    if made_from == "loaded":
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    originals = stored_tensors(base)
    untouched = {file.name: file.read_bytes() for file in base.iterdir()}
    for number, kind in enumerate(("rows", "entries", "whole")):
        changes, edited = random_changes(model, kind, seed=number)
        patch = Patch.from_changes(model, changes)
        if kind != "whole":
            assert {edit.kind for edit in patch.tensors.values()} == {kind}
        file = tmp_path / f"{kind}.safetensors"
        patch.save(file)
        out = tmp_path / kind
        apply_patch(base, file, out)
        loaded = AutoModelForCausalLM.from_pretrained(out, dtype=torch.bfloat16)
        assert_same_bits(parameters(loaded), parameters(edited))
        with Patch.load(file).applied(model):
            assert_same_bits(parameters(model), parameters(edited))
        restored = tmp_path / f"{kind}.back"
        apply_patch(out, file, restored, reverse=True)
        assert_same_bits(stored_tensors(restored), originals)
    for name, content in untouched.items():
        assert (base / name).read_bytes() == content
        assert (restored / name).read_bytes() == content


@pytest.mark.parametrize("family", ["granitemoe", "gpt_oss"])
def test_experts_that_are_stored_as_one_tensor(family, tmp_path):
    """Three dimensions on disk too; gpt_oss stores each matrix transposed."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
        head_dim=8, pad_token_id=0,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).bfloat16().eval()
    model.save_pretrained(tmp_path / "base", max_shard_size="40KB")
    for kind in ("rows", "entries", "whole"):
        changes, edited = random_changes(model, kind)
        patch = Patch.from_changes(model, changes)
        assert any(len(edit.shape) == 3 for edit in patch.tensors.values())
        apply_patch(tmp_path / "base", patch, tmp_path / kind)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / kind, dtype=torch.bfloat16)
        assert_same_bits(parameters(loaded), parameters(edited))
        with patch.applied(model):
            assert_same_bits(parameters(model), parameters(edited))
