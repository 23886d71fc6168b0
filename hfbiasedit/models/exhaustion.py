"""When memory runs out: which errors say so, and giving back what is not used any more."""

from __future__ import annotations

import gc


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of the tensor library says that memory ran out, on any kind of device."""
    import torch

    text = str(error).lower()
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)
    )


def free_memory() -> None:
    """Give memory that is no longer used back to the devices."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
