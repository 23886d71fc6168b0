"""Any failure as one line: our own words, the Hub's, the system's, or the exception's."""

from __future__ import annotations

import errno
import sys

from hfbiasedit.errors import BiasEditError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def explain(error: BaseException) -> str:
    """What went wrong and what to do, without a line break that matters."""
    if isinstance(error, BiasEditError):
        return str(error)
    # A file that is named says more than the Hub's guess that its cache is meant.
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return _explain_file(error)
    if "huggingface_hub" in sys.modules:
        from hfbiasedit.hub.failures import explain as explain_hub

        if text := explain_hub(error):
            return text
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_file(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; try --dtype bfloat16, a smaller --batch-size or --device-map auto"
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first} (--debug shows where)"


def _explain_file(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return f"the disk is full{where}; free some space and try again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read{where}; choose another directory"
    return f"{error.strerror}{where}"
