"""Which errors say that memory ran out."""

import platform
from pathlib import Path

import pytest
import torch

from hfbiasedit.models.exhaustion import free_memory, out_of_memory, trim_heap


def test_out_of_memory_is_told_by_type_or_words():
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("MPS backend out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("size mismatch"))
    assert not out_of_memory(ValueError("out of memory is a phrase of this file"))


def test_memory_can_be_given_back_where_there_is_no_device():
    free_memory()


def _held():
    """Bytes of this process that no file backs."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    return int(line.split()[1]) << 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_pieces_between_others_go_back_to_the_system():
    pieces = [torch.ones(24 << 10) for _ in range(1024)]  # 96 KiB each
    kept, full = pieces[::16], _held()
    del pieces
    trim_heap()
    assert full - _held() > 64 << 20
    assert len(kept) == 64
