"""Pickled weights as safetensors: tensors and nothing else, under the same names."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from hfbiasedit.checkpoints.conversion import bin_dtypes, convert_bin
from hfbiasedit.errors import BiasEditError

TENSORS = {
    "a": torch.arange(6.0).view(2, 3).bfloat16(),
    "b": torch.arange(4.0).to(torch.float64),
    "mask": torch.ones(2, 2, dtype=torch.uint8),
}
ODD = {"version": 3, "nothing": None, "nested": {"x": 1}, "sparse": torch.eye(3).to_sparse(), 7: 1}


def test_entries_that_no_loader_takes_are_left_out_and_named(tmp_path):
    torch.save(TENSORS | ODD, tmp_path / "pytorch_model.bin")
    out = tmp_path / "out"
    out.mkdir()
    done = convert_bin(tmp_path, out)
    assert (done.written, done.read) == (["model.safetensors"], {"pytorch_model.bin"})
    assert done.left_out == ["version", "nothing", "nested", "sparse", "7"]
    found = load_file(out / "model.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_dtypes_are_told_without_reading_values(tmp_path):
    torch.save(TENSORS | ODD, tmp_path / "pytorch_model.bin")
    assert bin_dtypes(tmp_path) == {"a": "BF16", "b": "F64", "mask": "torch.uint8"}


@pytest.mark.parametrize("content", [[1, 2], {"version": 3}, {}])
def test_files_without_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "pytorch_model.bin")
    for use in (bin_dtypes, lambda source: convert_bin(source, tmp_path)):
        with pytest.raises(BiasEditError, match="something other than named tensors"):
            use(tmp_path)
