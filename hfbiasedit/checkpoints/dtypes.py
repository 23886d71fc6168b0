"""The number formats a patch may hold, by their safetensors names, as bit patterns in numpy.

numpy has no bfloat16, so values are kept as unsigned integers of the same width: equality is
equality of bits and nothing is ever rounded on the way. No torch: applying a patch to files
must not cost torch's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

#: Bytes per element of every dtype a safetensors file of a checkpoint may hold.
ITEM_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format: its bit pattern type, exponent bits and torch name."""

    bits: np.dtype[Any]
    exponent: int
    torch_name: str


FLOATS = {
    "F64": FloatFormat(np.dtype("<u8"), 0x7FF0_0000_0000_0000, "float64"),
    "F32": FloatFormat(np.dtype("<u4"), 0x7F80_0000, "float32"),
    "F16": FloatFormat(np.dtype("<u2"), 0x7C00, "float16"),
    "BF16": FloatFormat(np.dtype("<u2"), 0x7F80, "bfloat16"),
}


def all_finite(bits: np.ndarray, dtype: str) -> bool:
    """Whether no bit pattern is an infinity or NaN (all exponent bits set)."""
    exponent = bits.dtype.type(FLOATS[dtype].exponent)
    return not bool(((bits & exponent) == exponent).any())


def to_float64(bits: np.ndarray, dtype: str) -> np.ndarray:
    """The exact values as float64."""
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return bits.view(f"<f{bits.itemsize}").astype(np.float64)


def from_float64(values: np.ndarray, dtype: str) -> np.ndarray:
    """Bit patterns of values, rounded to nearest even (16 bits by way of float32, as in torch)."""
    bits = FLOATS[dtype].bits
    with np.errstate(over="ignore"):
        if bits.itemsize == 2:
            values = values.astype("<f4")
        if dtype != "BF16":
            return values.astype(f"<f{bits.itemsize}").view(bits)
    wide = values.view("<u4").astype(np.uint64)
    rounded = (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16
    return rounded.astype("<u2")


def name_of(dtype: torch.dtype) -> str | None:
    """The safetensors name of a torch float dtype; None when a patch cannot hold it."""
    for name, form in FLOATS.items():
        if str(dtype) == f"torch.{form.torch_name}":
            return name
    return None


def torch_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a safetensors name."""
    import torch

    found: torch.dtype = getattr(torch, FLOATS[dtype].torch_name)
    return found


def bits_of(tensor: torch.Tensor) -> np.ndarray:
    """The bit patterns of a torch tensor as a C-ordered numpy array (on the CPU)."""
    import torch

    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    array: np.ndarray = tensor.detach().cpu().contiguous().view(width).numpy()
    return array.view(f"<u{tensor.element_size()}")


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two torch tensors of one width hold the same bits."""
    return bool(np.array_equal(bits_of(one), bits_of(other)))


def as_torch(bits: np.ndarray, dtype: str) -> torch.Tensor:
    """A torch tensor with these bit patterns (shares memory where numpy lets it)."""
    import torch

    signed = np.ascontiguousarray(bits)
    if not signed.flags.writeable:
        signed = signed.copy()
    return torch.from_numpy(signed.view(f"<i{bits.itemsize}")).view(torch_dtype(dtype))
