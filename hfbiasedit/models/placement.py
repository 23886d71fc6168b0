"""Dtypes and devices by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError

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
_DEVICES = ("cpu", "cuda", "mps", "xpu")


def parse_dtype(name: str) -> torch.dtype | str:
    """Turn a dtype's name into the dtype; `auto` stays `auto`."""
    import torch

    if name == "auto":
        return name
    known = _DTYPES.get(str(name).removeprefix("torch.").lower())
    if known is None:
        raise BiasEditError(f"unknown dtype {name!r}; use auto, float32, bfloat16 or float16")
    dtype: torch.dtype = getattr(torch, known)
    return dtype


def parse_device(name: str) -> torch.device:
    """Turn a name into a device that exists here; `auto` takes a GPU where there is one."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BiasEditError(
            f"unknown device {name!r}; use auto, cpu, cuda, cuda:0 or mps"
        ) from error
    if device.type not in _DEVICES:
        raise BiasEditError(f"unsupported device {name!r}; use auto, cpu, cuda, cuda:0 or mps")
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
