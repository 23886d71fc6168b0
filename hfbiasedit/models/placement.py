"""Dtypes and devices by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError, UsageError, unknown

if TYPE_CHECKING:
    import torch

_DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
    "float64": "float64",
}
# What is offered; other spellings of the same are understood too.
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")
_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")


def check_dtype(option: str, name: str) -> None:
    """Raise `UsageError` for a dtype that there is not."""
    if name != "auto" and _dtype_name(name) is None:
        raise unknown(option, name, DTYPES)


def check_device(option: str, name: str) -> None:
    """Raise `UsageError` for what names no device; whether there is one here is asked later."""
    if not _DEVICE.fullmatch(name):
        guess = unknown(option, name, DEVICES)
        raise UsageError(f"{guess}, or cuda:0")


def _dtype_name(name: str) -> str | None:
    return _DTYPES.get(name.removeprefix("torch.").lower())


def parse_dtype(name: str) -> torch.dtype | str:
    """Turn a dtype's name into the dtype; `auto` stays `auto`."""
    import torch

    check_dtype("dtype", name)
    return name if name == "auto" else getattr(torch, _dtype_name(name) or "")


def parse_device(name: str) -> torch.device:
    """Turn a name into a device that exists here; `auto` takes a GPU where there is one."""
    import torch

    check_device("device", name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise BiasEditError(
            f"device {name} is not available here ({torch.cuda.device_count()} CUDA devices); "
            "use --device cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BiasEditError("device mps is not available here; use --device cpu")
    if device.type == "xpu" and not torch.xpu.is_available():
        raise BiasEditError("device xpu is not available here; use --device cpu")
    return device
