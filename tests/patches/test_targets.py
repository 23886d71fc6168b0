"""Tensors are found where a loader takes them, and every stored copy is patched."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.checkpoint import apply_patch
from hfbiasedit.patches.patch import Patch
from hfbiasedit.patches.verification import verify_patch
from tests.patches.small import edit_of, file_bytes, fingerprint
from tests.tiny import save_checkpoint

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
NAME = "model.layers.0.mlp.up_proj.weight"
INDEX = "model.safetensors.index.json"


def read(path):
    """(dtype, bits) by name, without the code under test."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    found = {}
    for name, info in header.items():
        begin, end = (8 + length + offset for offset in info["data_offsets"])
        bits = np.frombuffer(raw[begin:end], "<u2").reshape(info["shape"])
        found[name] = (info["dtype"], bits)
    return found


def two_shards(folder, spoil=0, *, listed_in=SHARDS[0]):
    """A checkpoint whose tensor NAME stands in both shards; `spoil` flips bits of the last copy."""
    save_checkpoint(folder, shard_size="5GB")
    tensors = read(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    first = {name: tensors[name] for name in [*names[::2], NAME]}
    second = {name: tensors[name] for name in names if name not in first}
    second[NAME] = (tensors[NAME][0], tensors[NAME][1] ^ spoil)
    weight_map = {}
    for file, content in zip(SHARDS, (first, second), strict=True):
        (folder / file).write_bytes(file_bytes(content, {"format": "pt"}))
        weight_map |= dict.fromkeys(content, file)
    del weight_map[NAME]
    if listed_in:
        weight_map[NAME] = listed_in
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return second[NAME][1]


def loaded_bits(folder):
    """The tensor as transformers loads it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    return model.get_parameter(NAME).detach().view(torch.int16).numpy().view("<u2")


@pytest.mark.parametrize("listed_in", [*SHARDS, None])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_tensor_in_two_shards_is_patched_in_both(tmp_path, listed_in, in_place):
    bits = two_shards(tmp_path / "base", listed_in=listed_in)
    edit = edit_of(NAME, "BF16", bits, "rows", [1, 4], 0)
    before = fingerprint(tmp_path / "base")
    where = {"in_place": True} if in_place else {"out": tmp_path / "out"}
    report = apply_patch(tmp_path / "base", Patch({NAME: edit}), **where)
    changed = bits.copy()
    changed[[1, 4]] ^= 1
    assert np.array_equal(loaded_bits(report.path), changed)
    for file in SHARDS:
        assert np.array_equal(read(report.path / file)[NAME][1], changed)
    verified = verify_patch(report.path, Patch({NAME: edit}))
    assert verified.state == "applied"
    assert verified.tensors == {f"{NAME} in {file}": "applied" for file in SHARDS}
    apply_patch(report.path, Patch({NAME: edit}), tmp_path / "back", reverse=True)
    assert fingerprint(tmp_path / "back") == before


def test_copies_that_differ_are_refused(tmp_path):
    bits = two_shards(tmp_path / "base", spoil=2)
    assert np.array_equal(loaded_bits(tmp_path / "base"), bits)  # a loader takes the last copy
    before = fingerprint(tmp_path)
    edit = edit_of(NAME, "BF16", bits, "rows", [1, 4], 0)
    for where in ({"out": tmp_path / "out"}, {"in_place": True}):
        with pytest.raises(BiasEditError, match=f"{NAME} in {SHARDS[0]} differs.*another shard"):
            apply_patch(tmp_path / "base", Patch({NAME: edit}), **where)
    assert fingerprint(tmp_path) == before
    assert verify_patch(tmp_path / "base", Patch({NAME: edit})).state == "neither"


def test_differences_are_those_of_the_loaded_weights(tmp_path):
    old = two_shards(tmp_path / "base")
    new = two_shards(tmp_path / "edited", spoil=2)  # only the copy that counts is another
    patch = Patch.from_checkpoints(tmp_path / "base", tmp_path / "edited")
    apply_patch(tmp_path / "base", patch, tmp_path / "out")
    assert np.array_equal(loaded_bits(tmp_path / "out"), new)
    assert not np.array_equal(old, new)


def test_pickled_shards_are_converted_as_they_are_loaded(tmp_path):
    bits = two_shards(tmp_path / "base", spoil=2)
    base, source = tmp_path / "base", tmp_path / "bin"
    source.mkdir()
    index = json.loads((base / INDEX).read_text())
    names = {
        file: file.replace("model-", "pytorch_model-").replace("safetensors", "bin")
        for file in SHARDS
    }
    for file, name in names.items():
        tensors = {
            key: torch.from_numpy(values.view("<i2").copy()).view(torch.bfloat16)
            for key, (_, values) in read(base / file).items()
        }
        torch.save(tensors, source / name)
    index["weight_map"] = {key: names[file] for key, file in index["weight_map"].items()}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (source / "config.json").write_bytes((base / "config.json").read_bytes())
    assert np.array_equal(loaded_bits(source), bits)
    other = "model.norm.weight"
    dtype, values = {k: v for file in SHARDS for k, v in read(base / file).items()}[other]
    edit = edit_of(other, dtype, values, "entries", [0])
    apply_patch(source, Patch({other: edit}), tmp_path / "out")
    assert np.array_equal(loaded_bits(tmp_path / "out"), bits)
