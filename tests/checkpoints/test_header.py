"""The strict safetensors header: it refuses what safetensors refuses, before allocating."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hfbiasedit.checkpoints.header import read_header
from hfbiasedit.errors import BiasEditError


def packed(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def tensor(begin, end, shape=None, dtype="U8"):
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


GOOD = {"a": tensor(0, 4), "b": tensor(4, 6)}
BAD = {
    "hole": packed({"a": tensor(0, 4), "b": tensor(5, 7)}, bytes(7)),
    "overlap": packed({"a": tensor(0, 4), "b": tensor(3, 6)}, bytes(6)),
    "trailing": packed(GOOD, bytes(7)),
    "truncated": packed(GOOD, bytes(5)),
    "size": packed({"a": tensor(0, 4, [5])}, bytes(4)),
    "negative": packed({"a": tensor(0, 4, [-4])}, bytes(4)),
    "dtype": packed({"a": tensor(0, 4, dtype="F5")}, bytes(4)),
    "no dtype": packed({"a": {"shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
    "offsets": packed({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0]}}),
    "backwards": packed({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, bytes(4)),
    "overflow": packed({"a": tensor(0, 4, [2**62, 2**62, 2**62])}, bytes(4)),
    "length": struct.pack("<Q", 1 << 40) + b"{}",
    "limit": struct.pack("<Q", (1 << 64) - 1) + b"{}",
    "empty": b"",
    "short": b"\x02\0\0",
    "array": packed(b"[]"),
    "not json": packed(b"{]"),
    "metadata": packed({"__metadata__": {"a": 1}}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refuses_what_safetensors_refuses(tmp_path, name):
    file = tmp_path / "x.safetensors"
    file.write_bytes(BAD[name])
    with pytest.raises(BiasEditError, match="not a valid safetensors file"):
        read_header(file)
    with pytest.raises((SafetensorError, OSError, ValueError)):
        safe_open(file, "pt").keys()


def test_reads_what_safetensors_writes(tmp_path):
    tensors = {
        "a": torch.arange(6, dtype=torch.int64).view(2, 3),
        "b": torch.ones(3, dtype=torch.bfloat16),
        "c": torch.tensor(2.5),
        "d": torch.zeros(0, 4, dtype=torch.float16),
        "e": torch.tensor([True, False]),
        "f": torch.zeros(5, dtype=torch.float8_e4m3fn),
    }
    file = tmp_path / "x.safetensors"
    save_file(tensors, file, {"format": "pt"})
    header = read_header(file)
    assert header.metadata == {"format": "pt"}
    assert header.tensors.keys() == tensors.keys()
    raw = file.read_bytes()
    for name, info in header.tensors.items():
        assert info.shape == tuple(tensors[name].shape)
        content = tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes()
        assert raw[info.begin : info.end] == content


@pytest.mark.parametrize(
    "raw",
    [b'{"a":' * 50_000, b'{"a":' + b"[]," * 50_000 + b"1}", b'{"a":' + b"9" * 9000 + b"}",
     b'{"a":1,"a":1}', b'{"a":NaN}', b'{"\\ud800":1}', b'{"\xff":1}'],
)  # fmt: skip
def test_bombs_and_oddities_are_refused(tmp_path, raw):
    file = tmp_path / "x.safetensors"
    file.write_bytes(packed(raw))
    with pytest.raises(BiasEditError) as caught:
        read_header(file)
    assert str(caught.value).isprintable()
