"""Blocks, smallest representations and number formats against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.checkpoints.dtypes import all_finite, as_torch, bits_of, from_float64, to_float64
from hfbiasedit.patches.edits import smallest
from tests.patches.small import edit_of, expected_bits, values

SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


@st.composite
def edits(draw):
    """A random edit of any kind of a random tensor, and the tensor."""
    shape = draw(SHAPES)
    dtype = draw(st.sampled_from(["BF16", "F16", "F32"]))
    old = values(dtype, shape, draw(st.integers(0, 99)))
    kinds = ["whole", "entries"] + (["rows"] if len(shape) > 1 else [])
    kind = draw(st.sampled_from(kinds))
    axis, positions = None, None
    if kind == "rows":
        axis = len(shape) - draw(st.sampled_from([1, 2]))
    if kind != "whole":
        count = (
            old.size
            if kind == "entries"
            else old.size // shape[-1 if axis == len(shape) - 2 else -2]
        )
        positions = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    return edit_of("t", dtype, old, kind, positions, axis), old


@settings(max_examples=300, deadline=None)
@given(edits(), st.integers(1, 40))
def test_blocks_are_the_edit_in_file_order(case, limit):
    edit, old = case
    flats = []
    edited = old.copy().reshape(-1)
    for block in edit.blocks(limit):
        assert np.array_equal(edited[block.flat], block.old)
        edited[block.flat] = block.new
        flats.append(block.flat)
    flat = np.concatenate(flats)
    assert (np.diff(flat) > 0).all()
    assert flat.size == edit.weights
    expected = expected_bits({"t": old}, {"t": edit})["t"]
    assert np.array_equal(edited.reshape(old.shape), expected)


@settings(max_examples=300, deadline=None)
@given(edits(), st.data())
def test_smallest_makes_the_same_change(case, data):
    edit, old = case
    same = data.draw(st.sets(st.integers(0, edit.weights - 1), max_size=edit.weights))
    new = edit.new_bits.copy()
    new.reshape(-1)[sorted(same)] = edit.old_bits.reshape(-1)[sorted(same)]
    changed = expected_bits({"t": old}, {"t": edit.__class__(
        "t", edit.kind, edit.axis, edit.shape, edit.dtype, edit.positions, edit.old_bits, new
    )})["t"]  # fmt: skip
    found = smallest(edit, np.arange(old.size), old.reshape(-1), changed.reshape(-1))
    if found is None:
        assert np.array_equal(old, changed)
        return
    found.check()
    assert np.array_equal(expected_bits({"t": old}, {"t": found})["t"], changed)
    size = old.itemsize
    bytes_ = 2 * found.old_bits.nbytes + (0 if found.positions is None else found.positions.nbytes)
    hits = int((old != changed).sum())
    assert bytes_ <= min(hits * (8 + 2 * size), 2 * old.nbytes)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_formats_agree_with_torch(dtype):
    form = {
        "BF16": torch.bfloat16,
        "F16": torch.float16,
        "F32": torch.float32,
        "F64": torch.float64,
    }[dtype]
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(20_000, generator=generator, dtype=torch.float64)
    wide *= 10.0 ** torch.randint(-9, 6, wide.shape, generator=generator)
    wide[:4] = torch.tensor([0.0, -0.0, 65519.0, -1e-320], dtype=torch.float64)
    tensor = wide.to(form)
    assert np.array_equal(from_float64(wide.numpy(), dtype), bits_of(tensor))
    assert np.array_equal(
        to_float64(bits_of(tensor), dtype), tensor.double().numpy(), equal_nan=True
    )
    assert torch.equal(as_torch(bits_of(tensor), dtype), tensor)
    assert all_finite(bits_of(tensor), dtype) == bool(tensor.isfinite().all())
    for bad in (float("nan"), float("inf"), float("-inf")):
        spoiled = tensor.clone().nan_to_num(posinf=1.0, neginf=1.0)
        assert all_finite(bits_of(spoiled), dtype)
        spoiled[17] = bad
        assert not all_finite(bits_of(spoiled), dtype)


def test_every_bit_pattern_of_16_bits():
    every = np.arange(1 << 16, dtype="<u2")
    for dtype, form in (("BF16", torch.bfloat16), ("F16", torch.float16)):
        finite = as_torch(every, dtype).isfinite().numpy()
        one_by_one = np.array([all_finite(every[i : i + 1], dtype) for i in range(0, 1 << 16, 97)])
        assert np.array_equal(one_by_one, finite[::97])
        kept = every[finite]
        assert np.array_equal(from_float64(to_float64(kept, dtype), dtype), kept)
        assert as_torch(every, dtype).dtype == form
