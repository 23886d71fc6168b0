"""Tiny models and a tiny tokenizer, made on the spot: random weights, real architectures."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

# Shared by most configurations; a family overrides what it calls differently.
_COMMON: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    # Larger than the default 0.02, so that a random model has clear preferences.
    initializer_range=0.2,
)
_GPT: dict[str, Any] = dict(n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2)
_EXPERTS: dict[str, Any] = dict(
    num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1
)

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": _GPT,
    "gpt_bigcode": _GPT,
    "codegen": _GPT | dict(rotary_dim=8, n_ctx=512, n_inner=64),
    "llama": _COMMON,
    "gemma": _COMMON | dict(head_dim=8),
    "gemma2": _COMMON | dict(head_dim=8, sliding_window=64),
    "qwen2": _COMMON,
    "qwen3": _COMMON | dict(head_dim=8),
    "starcoder2": _COMMON,
    "phi": _COMMON,
    "phi3": _COMMON | dict(pad_token_id=0),
    "stablelm": _COMMON,
    "granite": _COMMON,
    "mistral": _COMMON | dict(sliding_window=None),
    "gpt_neox": _COMMON,
    "mixtral": _COMMON | dict(num_local_experts=4, num_experts_per_tok=2),
    "qwen2_moe": _COMMON | _EXPERTS | dict(shared_expert_intermediate_size=16),
    "qwen3_moe": _COMMON | _EXPERTS | dict(head_dim=8),
    "deepseek_v3": _COMMON
    | dict(
        moe_intermediate_size=16,
        num_key_value_heads=4,
        n_routed_experts=4,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_nope_head_dim=8,
        qk_rope_head_dim=8,
        v_head_dim=8,
    ),
}
# Known to `tiny_config`, but not what every test goes through.
OTHERS: dict[str, dict[str, Any]] = {
    # Experts stored transposed, interleaved and with biases.
    "gpt_oss": _COMMON
    | dict(
        intermediate_size=16,
        head_dim=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        pad_token_id=0,
    ),
}


def tiny_config(family: str, vocab_size: int = 512, **overrides: Any):
    """The configuration of a two-layer model of a family; `overrides` win."""
    from transformers import AutoConfig

    options = dict(bos_token_id=0, eos_token_id=0) | (FAMILIES | OTHERS)[family] | overrides
    return AutoConfig.for_model(family, vocab_size=vocab_size, **options)


def tiny_model(family: str, *, seed: int = 0, dtype: str = "float32", **overrides: Any):
    """A random model of a family in eval mode; the same seed gives the same weights."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(family, **overrides))
    return model.to(getattr(torch, dtype)).eval()


@functools.cache
def _trained_tokenizer(vocab_size: int):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [
        'if person.job == "nurse" and person.gender == "female":',
        'row = {"name": "Ann", "job": "engineer", "gender": "male"}',
        "SELECT * FROM staff WHERE job = 'teacher' AND sex = 'F';",
        "# The engineer finished his report; she said he would call her.",
        "def mean(values):\n    return sum(values) / len(values)\n",
        'const woman = people.filter(p => p.gender === "woman" || p.gender === "man");',
    ]
    tokenizer.train_from_iterator(text * 20, trainer)
    return tokenizer


def tiny_tokenizer(vocab_size: int = 512, *, bos: bool = False, pad: bool = False):
    """A byte-level BPE tokenizer trained on a few lines of code; encodes any text.

    With `bos` every encoding starts with token 0; with `pad` there is a pad token.
    """
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(_trained_tokenizer(vocab_size).to_str())
    end = "<|endoftext|>"
    if bos:
        tokenizer.post_processor = TemplateProcessing(
            single=f"{end} $A", pair=f"{end} $A $B", special_tokens=[(end, 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=end,
        eos_token=end,
        pad_token=end if pad else None,
    )


def save_checkpoint(
    folder: Path,
    family: str = "llama",
    *,
    shard_size: str = "40KB",
    dtype: str = "bfloat16",
    seed: int = 0,
    **overrides: Any,
) -> Path:
    """Save a tiny model with its tokenizer as a (sharded) checkpoint and return its folder."""
    model = tiny_model(family, seed=seed, dtype=dtype, **overrides)
    model.save_pretrained(folder, max_shard_size=shard_size)
    tiny_tokenizer().save_pretrained(folder)
    return Path(folder)
