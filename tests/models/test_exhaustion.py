"""Which errors say that memory ran out."""

import torch

from hfbiasedit.models.exhaustion import free_memory, out_of_memory


def test_out_of_memory_is_told_by_type_or_words():
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("MPS backend out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("size mismatch"))
    assert not out_of_memory(ValueError("out of memory is a phrase of this file"))


def test_memory_can_be_given_back_where_there_is_no_device():
    free_memory()
