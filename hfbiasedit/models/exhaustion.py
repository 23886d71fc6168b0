"""When memory runs out: which errors say so, and giving back what is not used any more."""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from collections.abc import Callable


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of the tensor library says that memory ran out, on any kind of device."""
    import torch

    text = str(error).lower()
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)
    )


def free_memory() -> None:
    """Give memory that is no longer used back to the devices and to the system."""
    import torch

    gc.collect()
    trim_heap()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def trim_heap() -> None:
    """Give the system what the C library keeps of freed memory, where it can be asked to.

    The activations of a backward pass are many pieces of a few hundred kilobytes: their memory
    stays with the process after they are freed, beside whatever is needed next.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    if sys.platform.startswith("linux"):
        found = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if found is not None:
            return found
    return lambda _: None
