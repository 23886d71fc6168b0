"""Embeddings and heads that are stored twice: the tensors decide, as in transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hfbiasedit.checkpoints.storage import Checkpoint
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.twins import equal_twins, refuse_untying, twins
from hfbiasedit.patches.verification import verify_patch
from tests.patches.small import edit_of, file_bytes, fingerprint
from tests.patches.test_targets import read
from tests.tiny import save_checkpoint

HEAD = "lm_head.weight"
EMBEDDINGS = {"gpt2": "transformer.wte.weight", "llama": "model.embed_tokens.weight"}


def stored_twice(folder, family, said, *, spoil=0, head=True):
    """A checkpoint that stores embedding and head; `said` is what its configuration says."""
    save_checkpoint(folder, family, shard_size="5GB", tie_word_embeddings=True)
    config = json.loads((folder / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    if said is not None:
        config["tie_word_embeddings"] = said
    (folder / "config.json").write_text(json.dumps(config))
    tensors = read(folder / "model.safetensors")
    dtype, bits = tensors[EMBEDDINGS[family]]
    if head:
        tensors[HEAD] = (dtype, bits ^ spoil)
    (folder / "model.safetensors").write_bytes(file_bytes(tensors, {"format": "pt"}))
    return bits


def loaded(folder):
    """Bits of embedding and head as transformers loads them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    return [end.weight.detach().view(torch.int16).numpy().view("<u2") for end in ends]


@pytest.mark.parametrize(
    ("family", "said", "tied"),
    [
        ("gpt2", None, True),  # the class ties where the configuration says nothing
        ("gpt2", True, True),
        ("gpt2", False, False),
        ("llama", None, False),
        ("llama", True, True),
    ],
)
def test_one_of_two_equal_copies_is_patched_only_where_they_are_not_tied(
    tmp_path, family, said, tied
):
    base, name = tmp_path / "base", EMBEDDINGS[family]
    bits = stored_twice(base, family, said)
    patch = Patch({name: edit_of(name, "BF16", bits, "rows", [0, 3], 0)})
    before = fingerprint(tmp_path)
    if tied:
        for where in ({"out": tmp_path / "out"}, {"in_place": True}):
            with pytest.raises(BiasEditError, match=r"tied to lm_head\.weight.*come apart"):
                apply_patch(base, patch, **where)
        with pytest.raises(BiasEditError, match="come apart"):
            verify_patch(base, patch)
        assert fingerprint(tmp_path) == before
        return
    apply_patch(base, patch, tmp_path / "out")
    changed = bits.copy()
    changed[[0, 3]] ^= 1
    embedding, head = loaded(tmp_path / "out")
    assert np.array_equal(embedding, changed)
    assert np.array_equal(head, bits)
    apply_patch(tmp_path / "out", patch, in_place=True, reverse=True)
    assert fingerprint(tmp_path / "out") == fingerprint(base)


def test_a_head_that_differs_is_a_weight_of_its_own_whatever_the_configuration_says(tmp_path):
    base, name = tmp_path / "base", EMBEDDINGS["llama"]
    bits = stored_twice(base, "llama", True, spoil=4)
    patch = Patch({name: edit_of(name, "BF16", bits, "rows", [0, 3], 0)})
    apply_patch(base, patch, tmp_path / "out")
    embedding, head = loaded(tmp_path / "out")
    assert (embedding != bits).sum() == 2 * bits.shape[1]
    assert np.array_equal(head, bits ^ 4)
    assert verify_patch(tmp_path / "out", patch).state == "applied"


def test_patches_of_a_loaded_model_change_both_copies(tmp_path):
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.patches.building import Change

    base, name = tmp_path / "base", EMBEDDINGS["gpt2"]
    stored_twice(base, "gpt2", None)
    model = load_model(base)
    new = model.model.get_parameter(name)[:1] + 1
    patch = Patch.from_changes(model, {name: Change("rows", [0], new)})
    apply_patch(base, patch, tmp_path / "out")
    embedding, head = loaded(tmp_path / "out")
    assert np.array_equal(embedding, head)
    assert not np.array_equal(embedding, loaded(base)[0])


@pytest.mark.parametrize("more", ["base", "edited"])
def test_a_head_that_only_one_side_stores_is_no_difference(tmp_path, more):
    name = EMBEDDINGS["gpt2"]
    for side in ("base", "edited"):
        stored_twice(tmp_path / side, "gpt2", None, head=side == more)
    file = tmp_path / "edited" / "model.safetensors"
    tensors = read(file)
    dtype, bits = tensors[name]
    for stored in tensors.keys() & {name, HEAD}:
        tensors[stored] = (dtype, np.where(np.arange(len(bits))[:, None] == 2, bits ^ 1, bits))
    file.write_bytes(file_bytes(tensors, {"format": "pt"}))
    patch = Patch.from_checkpoints(tmp_path / "base", tmp_path / "edited")
    assert list(patch.tensors) == [name]
    apply_patch(tmp_path / "base", patch, tmp_path / "out")
    for found, wanted in zip(loaded(tmp_path / "out"), loaded(tmp_path / "edited"), strict=True):
        assert np.array_equal(found, wanted)


def test_differences_that_no_patch_can_hold(tmp_path):
    name = EMBEDDINGS["gpt2"]
    stored_twice(tmp_path / "base", "gpt2", None, head=False)
    stored_twice(tmp_path / "other", "gpt2", None, spoil=1)
    with pytest.raises(BiasEditError, match=r"lm_head\.weight is stored in only one"):
        Patch.from_checkpoints(tmp_path / "base", tmp_path / "other")
    stored_twice(tmp_path / "tied", "gpt2", None)
    stored_twice(tmp_path / "apart", "gpt2", None, spoil=1)
    with pytest.raises(BiasEditError, match=f"lm_head.weight is tied to {name}.*come apart"):
        Patch.from_checkpoints(tmp_path / "tied", tmp_path / "apart")


def test_copies_are_compared_to_the_last_bit_of_every_piece(tmp_path, monkeypatch):
    """Whether one is left alone does not depend on where in the tensor the two differ."""
    name = EMBEDDINGS["llama"]
    for number, place in enumerate([None, 0, 40, -1]):
        base = tmp_path / str(number)
        bits = stored_twice(base, "llama", True)
        if place is not None:
            tensors = read(base / "model.safetensors")
            dtype, head = tensors[HEAD]
            head = head.copy()
            head.reshape(-1)[place] ^= 1
            tensors[HEAD] = (dtype, head)
            (base / "model.safetensors").write_bytes(file_bytes(tensors, {"format": "pt"}))
        checkpoint = Checkpoint.open(base)
        for piece in (1 << 22, 16, 64, 2 * bits.size - 2):  # bytes; the last leaves two of them
            monkeypatch.setattr("hfbiasedit.patches.twins._PIECE", piece)
            same = place is None
            assert equal_twins(checkpoint, name) == ([HEAD] if same else [])
            assert equal_twins(checkpoint, HEAD) == ([name] if same else [])
            if same:
                with pytest.raises(BiasEditError, match=rf"{name} is tied to {HEAD}"):
                    refuse_untying(checkpoint, {name})
            else:
                refuse_untying(checkpoint, {name})
            refuse_untying(checkpoint, {name, HEAD})


def test_only_tensors_of_one_shape_and_dtype_can_be_twins(tmp_path):
    base = tmp_path / "base"
    bits = stored_twice(base, "llama", True)
    name = EMBEDDINGS["llama"]
    assert twins(Checkpoint.open(base), name) == [HEAD]
    assert twins(Checkpoint.open(base), HEAD) == [name]
    assert twins(Checkpoint.open(base), "model.norm.weight") == []
    file = base / "model.safetensors"
    tensors = read(file)
    for other in (("BF16", bits[:-1]), ("F16", bits)):
        file.write_bytes(file_bytes(tensors | {HEAD: other}, {"format": "pt"}))
        assert twins(Checkpoint.open(base), name) == []
        assert twins(Checkpoint.open(base), HEAD) == []


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}}, False),
        ({"text_config": {"tie_word_embeddings": False}}, False),
        ({"text_config": {"tie_word_embeddings": True}, "model_type": "llama"}, True),
        ({"tie_word_embeddings": "yes", "model_type": "llama"}, False),  # says nothing: the class
        ({"model_type": "gpt2", "text_config": None}, True),
        ({"model_type": "of nobody"}, True),  # better refused than untied in silence
        ({}, True),
    ],
)
def test_what_a_configuration_says_of_tying(tmp_path, config, tied):
    base, name = tmp_path / "base", EMBEDDINGS["llama"]
    stored_twice(base, "llama", None)
    (base / "config.json").write_text(json.dumps(config))
    checkpoint = Checkpoint.open(base)
    if tied:
        with pytest.raises(BiasEditError, match="come apart"):
            refuse_untying(checkpoint, {name})
    else:
        refuse_untying(checkpoint, {name})
