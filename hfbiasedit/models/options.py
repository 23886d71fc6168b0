"""Which model is loaded, and how: the options of every command that loads one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from hfbiasedit.errors import UsageError
from hfbiasedit.fields import Options, documented, option
from hfbiasedit.models.placement import DEVICES, DTYPES, check_device, check_dtype

PANEL = "Model"
Quantization = Literal["int8", "int4"]
CHAT = "Ask through the model's chat template: each prompt as an answer that was begun."


@documented
@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """How a model is loaded (`load_model`)."""

    revision: str | None = option(None, "Branch, tag or commit of MODEL on the Hub.", panel=PANEL)
    dtype: str = option(
        "auto",
        "auto (as config.json says, else as stored), float32, bfloat16 or float16.",
        note="An edit needs one that holds every edited weight as it is stored.",
        choices=DTYPES,
        check=check_dtype,
        panel=PANEL,
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda, cuda:N or mps.",
        note="auto takes a GPU where there is one.",
        choices=DEVICES,
        check=check_device,
        panel=PANEL,
    )
    device_map: str | dict[str, Any] | None = option(
        None,
        "auto: spread a model that is larger than one device (needs accelerate).",
        note="Instead of `device`.",
        panel=PANEL,
    )
    trust_remote_code: bool = option(False, "Run Python code that ships with MODEL.", panel=PANEL)


@documented
@dataclass(frozen=True, kw_only=True)
class MeasuringOptions(ModelOptions):
    """How a model is loaded that is measured and not edited."""

    quantize: Quantization | None = option(
        None,
        "int8 or int4: round the weights first as torchao does, to see what the quantised model "
        "says.",
        note="A patch is applied before.",
        one="quantisation",
        panel=PANEL,
    )
    gguf: str | Path | None = option(
        None,
        "Take the weights from this GGUF file: one of MODEL's, or one on this machine.",
        panel=PANEL,
    )

    def __post_init__(self) -> None:
        """Refuse what contradicts itself before anything is loaded."""
        super().__post_init__()
        if self.gguf is not None and self.quantize is not None:
            raise UsageError("a GGUF file is quantised as it is; leave --quantize out")


class ModelOverrides(TypedDict, total=False):
    """`ModelOptions` as keywords."""

    revision: str | None
    dtype: str
    device: str
    device_map: str | dict[str, Any] | None
    trust_remote_code: bool


class MeasuringOverrides(ModelOverrides, total=False):
    """`MeasuringOptions` as keywords."""

    quantize: Quantization | None
    gguf: str | Path | None
