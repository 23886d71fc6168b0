"""Which of PyTorch's attention kernels run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

# All but cuDNN's, which makes a plan for every shape that it meets: our rows and windows differ
# from pass to pass. On an H200 calls of attention took a quarter of an audit's time with it, and a
# third of an edit's.
_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@contextlib.contextmanager
def any_shape() -> Iterator[None]:
    """Inside the block attention runs by kernels to which a new shape is like any other."""
    if not torch.cuda.is_available():  # there is no cuDNN
        yield
        return
    with sdpa_kernel(_KERNELS):
        yield
