"""Where q, k and v, or gate and up, lie inside tensors that hold several projections at once.

One line per module class. A class that is not listed has no parts: its rows are named after the
tensor. Sizes come from the module's own attributes and are checked against the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Part:
    """Rows `start + i * stride + j` for i < `count`, j < `length`, within one matrix."""

    name: str
    start: int
    length: int
    stride: int = 1
    count: int = 1

    def __len__(self) -> int:
        return self.length * self.count

    def __contains__(self, row: object) -> bool:
        if not isinstance(row, int) or row < self.start:
            return False
        group, within = divmod(row - self.start, self.stride if self.count > 1 else len(self))
        return group < self.count and within < self.length

    def rows(self) -> list[int]:
        """All rows of the part, ascending within each group."""
        return [
            self.start + group * self.stride + row
            for group in range(self.count)
            for row in range(self.length)
        ]


# Takes the owner (Any: only its class knows its attributes) and the number of rows.
Layout = Callable[[Any, int], "tuple[Part, ...]"]


def _in_turn(names: Sequence[str], sizes: Sequence[int]) -> tuple[Part, ...]:
    """Parts that follow each other."""
    return _repeated(names, sizes, 1)


def _repeated(names: Sequence[str], sizes: Sequence[int], count: int) -> tuple[Part, ...]:
    """Groups of parts, `count` times over (per head, per key head, per tensor-parallel piece)."""
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    stride = sum(sizes)
    return tuple(
        Part(name, start, size, stride, count)
        for name, start, size in zip(names, starts, sizes, strict=True)
    )


def _thirds(module: Any, rows: int) -> tuple[Part, ...]:
    return _in_turn("qkv", [rows // 3] * 3)


def _halves(module: Any, rows: int) -> tuple[Part, ...]:
    names = ("gate", "up")
    if getattr(module, "is_concatenated", True):
        return _in_turn(names, [rows // 2] * 2)
    return _repeated(names, [1, 1], rows // 2)  # interleaved


def _per_head(module: Any, rows: int) -> tuple[Part, ...]:
    size = module.head_size if hasattr(module, "head_size") else module.head_dim
    return _repeated("qkv", [size] * 3, rows // (3 * size))


def _codegen(module: Any, rows: int) -> tuple[Part, ...]:
    # Four pieces from the days of tensor-parallel training; inside each: q, v, k in this order.
    return _repeated("qvk", [rows // 12] * 3, 4)


def _bigcode(module: Any, rows: int) -> tuple[Part, ...]:
    if module.multi_query:
        return _in_turn("qkv", [module.embed_dim, module.kv_dim, module.kv_dim])
    return _per_head(module, rows)


def _grouped(module: Any, rows: int) -> tuple[Part, ...]:
    """q of all heads, then k, then v of the key-value heads."""
    config, size = module.config, module.head_dim
    query = config.num_attention_heads * size
    return _in_turn("qkv", [query, (rows - query) // 2, (rows - query) // 2])


def _falcon(module: Any, rows: int) -> tuple[Part, ...]:
    size, heads = module.head_dim, module.num_heads
    if module.new_decoder_architecture:
        groups = module.num_kv_heads
        return _repeated("qkv", [heads // groups * size, size, size], groups)
    if module.multi_query:
        return _in_turn("qkv", [heads * size, size, size])
    return _repeated("qkv", [size] * 3, heads)


def _delta_qkvz(module: Any, rows: int) -> tuple[Part, ...]:
    values = module.num_v_heads // module.num_k_heads * module.head_v_dim
    sizes = [module.head_k_dim, module.head_k_dim, values, values]
    return _repeated("qkvz", sizes, module.num_k_heads)


def _latent_in(module: Any, rows: int) -> tuple[Part, ...]:
    return _in_turn(("kv_latent", "k_rope"), [module.kv_lora_rank, module.qk_rope_head_dim])


def _latent_out(module: Any, rows: int) -> tuple[Part, ...]:
    sizes = [module.qk_nope_head_dim, module.v_head_dim]
    return _repeated(("k", "v"), sizes, module.num_heads)


# (class name of the owner, attribute) -> layout; "*" stands for any owner.
_LAYOUTS: dict[tuple[str, str], Layout] = {
    ("GPT2Attention", "c_attn"): _thirds,
    ("MptAttention", "Wqkv"): _thirds,
    ("GPTBigCodeAttention", "c_attn"): _bigcode,
    ("CodeGenAttention", "qkv_proj"): _codegen,
    ("Phi3Attention", "qkv_proj"): _grouped,
    ("GPTNeoXAttention", "query_key_value"): _per_head,
    ("BloomAttention", "query_key_value"): _per_head,
    ("PersimmonAttention", "query_key_value"): _per_head,
    ("FalconAttention", "query_key_value"): _falcon,
    ("Qwen3NextGatedDeltaNet", "in_proj_qkvz"): _delta_qkvz,
    ("DeepseekV2Attention", "kv_a_proj_with_mqa"): _latent_in,
    ("DeepseekV3Attention", "kv_a_proj_with_mqa"): _latent_in,
    ("DeepseekV2Attention", "kv_b_proj"): _latent_out,
    ("DeepseekV3Attention", "kv_b_proj"): _latent_out,
    ("*", "gate_up_proj"): _halves,
}


def fused_parts(owner: nn.Module, attribute: str, rows: int) -> tuple[Part, ...]:
    """The parts of the tensor `attribute` of a module with `rows` output units; () if not fused."""
    names = [kind.__name__ for kind in type(owner).__mro__]
    for name in (*names, "*"):
        layout = _LAYOUTS.get((name, attribute))
        if layout is not None:
            parts = layout(owner, rows)
            return parts if sum(len(part) for part in parts) == rows else ()
    return ()
