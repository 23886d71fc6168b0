"""The options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from hfbiasedit.fields import Options, documented, option

Kind = Literal["lora", "shira"]
# What vLLM's --max-lora-rank takes; SGLang and TGI have no smaller limit of their own.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_RANK = VLLM_RANKS[-1]


@documented
@dataclass(frozen=True, kw_only=True)
class AdapterConfig(Options):
    """What adapter a patch becomes."""

    kind: Kind = option(
        "lora",
        "lora, which servers take, or shira, peft's sparse adapter.",
        flags=("--as",),
    )
    max_rank: int = option(
        MAX_RANK,
        f"Refuse an edit of a larger rank ({MAX_RANK}: vLLM's largest --max-lora-rank).",
        note="lora only.",
        least=1,
    )
    base: str | Path | None = option(
        None, "The base model, where the patch does not name it: Hub id or directory."
    )
    check: bool = option(
        False,
        "Load base model and adapter, and measure the difference in logits (needs peft).",
    )


class AdapterOverrides(TypedDict, total=False):
    """`AdapterConfig` as keywords."""

    kind: Kind
    max_rank: int
    base: str | Path | None
    check: bool
