"""Every family: patch the files, load them, compare with the edit made in memory, take it back."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

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
