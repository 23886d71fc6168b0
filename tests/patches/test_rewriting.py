"""Windows over files, with limits so small that every boundary is met."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit.checkpoints.header import TensorInfo
from hfbiasedit.errors import BiasEditError
from hfbiasedit.patches import rewriting
from tests.patches.small import expected_bits
from tests.patches.test_edits import edits

FRONT, BACK = b"front", b"behind"
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs files in memory")


@settings(max_examples=200, deadline=None)
@given(edits(), st.sampled_from([1, 8, 64]), st.sampled_from([8, 16, 128]), st.integers(1, 30))
def test_windows_of_any_size(case, gap, window, block):
    edit, old = case
    edited = expected_bits({"t": old}, {"t": edit})["t"]
    info = TensorInfo(edit.dtype, edit.shape, len(FRONT), len(FRONT) + old.nbytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "_GAP", gap)
        patch.setattr(rewriting, "_WINDOW", window)
        blocks = edit.blocks
        patch.setattr(type(edit), "blocks", lambda self, limit=block: blocks(limit))
        handle = os.memfd_create("shard")
        try:
            os.pwrite(handle, FRONT + old.tobytes() + BACK, 0)
            assert rewriting.state(handle, info, edit) == (True, False)
            assert rewriting.is_between(handle, info, edit)
            rewriting.write(handle, info, edit, new=True)
            content = os.pread(handle, 1 << 20, 0)
            assert content == FRONT + edited.tobytes() + BACK
            assert rewriting.state(handle, info, edit) == (False, True)
            assert rewriting.is_between(handle, info, edit)
            pieces = rewriting.restored_pieces(handle, info, edit)
            restored = b"".join(bytes(piece) for piece in pieces)
            assert restored == old.tobytes()
            rewriting.write(handle, info, edit, new=False)
            assert os.pread(handle, 1 << 20, 0) == FRONT + old.tobytes() + BACK
        finally:
            os.close(handle)


@settings(max_examples=100, deadline=None)
@given(edits(), st.data())
def test_torn_writes_are_between_and_foreign_ones_are_not(case, data):
    edit, old = case
    edited = expected_bits({"t": old}, {"t": edit})["t"].tobytes()
    info = TensorInfo(edit.dtype, edit.shape, 0, old.nbytes)
    torn = data.draw(st.integers(0, old.nbytes))
    handle = os.memfd_create("shard")
    try:
        os.pwrite(handle, edited[:torn] + old.tobytes()[torn:], 0)
        assert rewriting.is_between(handle, info, edit)
        flat = next(edit.blocks()).flat[0]
        byte = os.pread(handle, 1, int(flat) * old.itemsize)[0]
        os.pwrite(handle, bytes([byte ^ 0x40]), int(flat) * old.itemsize)
        assert not rewriting.is_between(handle, info, edit)
    finally:
        os.close(handle)


def test_a_large_tensor_of_columns(tmp_path):
    """Several blocks and windows at their real sizes: the columns of a Conv1D of 8 MB."""
    random = np.random.default_rng(0)
    shape = (2048, 2048)
    old = random.integers(0, 0x7F00, shape, dtype="<u2")
    columns = np.sort(random.choice(2048, 900, replace=False))
    before = np.ascontiguousarray(old[:, columns].T)
    edit = rewriting.TensorEdit("t", "rows", 1, shape, "BF16", columns, before, before ^ 3)
    edited = old.copy()
    edited[:, columns] ^= 3
    file = tmp_path / "shard"
    file.write_bytes(FRONT + old.tobytes() + BACK)
    info = TensorInfo("BF16", shape, len(FRONT), len(FRONT) + old.nbytes)
    handle = os.open(file, os.O_RDWR)
    try:
        assert rewriting.state(handle, info, edit) == (True, False)
        rewriting.write(handle, info, edit, new=True)
        assert file.read_bytes() == FRONT + edited.tobytes() + BACK
        os.ftruncate(handle, 100)
        with pytest.raises(BiasEditError, match="cut short"):
            rewriting.state(handle, info, edit)
    finally:
        os.close(handle)
