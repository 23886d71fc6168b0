"""The file format: what is written, what is refused, what is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches.container import read_patch, write_patch
from hfbiasedit.patches.patch import Patch
from tests.patches.hostile import join, split
from tests.patches.small import make_checkpoint, sample_edits, save_patch


@pytest.fixture
def edits(tmp_path):
    return sample_edits(make_checkpoint(tmp_path / "base"))


@pytest.fixture
def file(tmp_path, edits):
    return save_patch(tmp_path / "p.safetensors", edits, granularity="row", edit={"seed": 1})


def rewritten(file, change):
    """The file with its description changed by `change`."""
    header, data = split(file.read_bytes())
    description = json.loads(header["__metadata__"]["hfbiasedit"])
    change(description, header)
    header["__metadata__"]["hfbiasedit"] = json.dumps(description)
    file.write_bytes(join(header, data))
    return file


def test_layout_as_documented(file, edits):
    with safe_open(file, "pt") as patch:
        assert set(patch.metadata()) == {"hfbiasedit"}
        description = json.loads(patch.metadata()["hfbiasedit"])
        tensors = {name: patch.get_tensor(name) for name in patch.keys()}  # noqa: SIM118
    assert description["format"] == "hfbiasedit.patch"
    assert description["version"] == 1
    assert description["granularity"] == "row"
    assert description["edit"] == {"seed": 1}
    assert description["tensors"]["model.embed.weight"] == {
        "kind": "rows", "axis": 0, "shape": [12, 6], "dtype": "BF16",
    }  # fmt: skip
    assert tensors["model.embed.weight.rows"].tolist() == [1, 2, 9]
    assert tensors["model.embed.weight.rows"].dtype == torch.int64
    assert tensors["model.embed.weight.old"].shape == (3, 6)
    assert tensors["model.embed.weight.new"].dtype == torch.bfloat16
    assert tensors["model.layers.0.mlp.up.weight.entries"].tolist() == [0, 7, 39]
    assert tensors["model.layers.0.mlp.up.weight.old"].shape == (3,)
    assert "model.layers.0.mlp.up.bias.rows" not in tensors
    assert tensors["model.layers.1.mlp.down.weight.old"].shape == (2, 6)
    assert tensors["model.layers.1.mlp.experts.old"].shape == (3, 5)
    assert len(tensors) == 3 * 5 - 1
    assert sorted(edits) == sorted(description["tensors"])


def test_bytes_are_those_of_safetensors_and_always_the_same(file, edits, tmp_path):
    with safe_open(file, "pt") as patch:
        tensors = {name: patch.get_tensor(name) for name in patch.keys()}  # noqa: SIM118
        save_file(tensors, tmp_path / "theirs.safetensors", patch.metadata())
    assert (tmp_path / "theirs.safetensors").read_bytes() == file.read_bytes()
    shuffled = dict(reversed(edits.items()))
    again = tmp_path / "again.safetensors"
    write_patch(again, shuffled, {"edit": {"seed": 1}, "granularity": "row"})
    assert again.read_bytes() == file.read_bytes()
    Patch.load(file).save(again)
    assert again.read_bytes() == file.read_bytes()


def test_unknown_version_is_refused(file):
    rewritten(file, lambda description, _: description.update(version=2))
    with pytest.raises(BiasEditError, match="version 2.*update hfbiasedit"):
        Patch.load(file)


def test_unknown_optional_keys_are_kept_and_warned_about(file, tmp_path):
    def change(description, _):
        description["reviewed_by"] = "somebody"
        description["tensors"]["model.embed.weight"]["comment"] = "hello"

    patch = Patch.load(rewritten(file, change))
    assert patch.metadata["reviewed_by"] == "somebody"
    assert any("reviewed_by" in warning for warning in patch.warnings)
    assert any("comment" in warning for warning in patch.warnings)
    patch.save(tmp_path / "again.safetensors")
    tensors, metadata, _ = read_patch(tmp_path / "again.safetensors")
    assert metadata["reviewed_by"] == "somebody"
    assert tensors["model.embed.weight"].extra == {"comment": "hello"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d, h: d.update(format="other"), "not a patch"),
        (lambda d, h: d.update(version=True), "version"),
        (lambda d, h: d.update(tensors={}), "no tensors"),
        (lambda d, h: d["tensors"].pop("model.embed.weight"), "does not list"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(kind="delta"), "unknown kind"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(kind="whole"), "axis"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(axis=2), "axis"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(axis=True), "axis"),
        (lambda d, h: d["tensors"]["model.layers.1.mlp.experts"].update(axis=0), "axis"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(axis=1), "wrong shape"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(dtype="F8_E4M3"), "dtype"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(dtype="F16"), "dtype"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(dtype=["F16"]), "dtype"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(shape=[12, 0]), "shape"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(shape=[2, 6]), "positions"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(shape=[2**60, 6]), "shape"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(sha256="abc"), "SHA-256"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(tied="x"), "tied"),
        (lambda d, h: d["tensors"]["model.embed.weight"].update(tied=["a\nb"]), "tied"),
        (lambda d, h: d["tensors"].update({"a\x1b[2J": {}}), "name"),
        (lambda d, h: d["tensors"].update({"../x": {"kind": "whole"}}), "not described"),
        (lambda d, h: h["__metadata__"].update(more="1"), "single key"),
    ],
)
def test_malformed_descriptions_are_refused(file, change, reason):
    rewritten(file, change)
    with pytest.raises(BiasEditError, match=reason) as caught:
        Patch.load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("positions", "message"),
    [([2, 1, 9], "ascending"), ([1, 1, 9], "ascending"), ([-1, 2, 9], "ascending"),
     ([1, 2, 12], "out of range"), ([5, -(2**63), 9], "ascending")],
)  # fmt: skip
def test_bad_positions_are_refused_on_access(file, positions, message):
    header, data = split(file.read_bytes())
    begin, end = header["model.embed.weight.rows"]["data_offsets"]
    data = data[:begin] + np.array(positions, "<i8").tobytes() + data[end:]
    file.write_bytes(join(header, data))
    patch = Patch.load(file)
    with pytest.raises(BiasEditError, match=message):
        patch.tensors["model.embed.weight"]


@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0])
def test_values_that_are_not_finite_are_refused(file, side, bits):
    header, data = split(file.read_bytes())
    begin, _ = header[f"model.embed.weight.{side}"]["data_offsets"]
    file.write_bytes(join(header, data[:begin] + bits.to_bytes(2, "little") + data[begin + 2 :]))
    with pytest.raises(BiasEditError, match="not all finite"):
        Patch.load(file).check()


def test_a_failed_write_leaves_nothing(tmp_path, edits):
    target = tmp_path / "new" / "p.safetensors"
    with pytest.raises(BiasEditError, match="not plain JSON"):
        write_patch(target, edits, {"edit": {"score": float("nan")}})
    with pytest.raises(BiasEditError, match="not plain JSON"):
        write_patch(target, edits, {"edit": {1, 2}})
    assert not target.parent.exists()


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(BiasEditError, match="cannot read"):
        Patch.load(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "weights.safetensors", {"format": "pt"})
    with pytest.raises(BiasEditError, match="not a patch"):
        Patch.load(tmp_path / "weights.safetensors")
