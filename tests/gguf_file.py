"""GGUF files of tiny Qwen2 models, written with the `gguf` package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def qwen2_tokenizer(plain: Any) -> Any:
    """A tokenizer as Qwen2 models have it, with the vocabulary of a byte-level one."""
    from transformers import Qwen2Tokenizer

    made = json.loads(plain.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in made["merges"]]
    end = "<|endoftext|>"
    return Qwen2Tokenizer(vocab=made["vocab"], merges=merges, unk_token=end, bos_token=end)


def write_gguf(path: Path, model: Any, tokenizer: Any, matrices: str = "F32") -> Path:
    """Write a Qwen2 model with its byte-level BPE tokenizer.

    Args:
        matrices: type of every matrix of the blocks, such as `Q8_0`; the rest is float32.
    """
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    _add_tokenizer(writer, tokenizer, config.vocab_size)
    for name, value in model.state_dict().items():
        stored, array = _stored(name), value.float().numpy()
        if "blk" in stored and array.ndim == 2 and matrices != "F32":
            kind = gguf.GGMLQuantizationType[matrices]
            writer.add_tensor(stored, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(stored, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _stored(name: str) -> str:
    base, _, kind = name.rpartition(".")
    if base in _NAMES:
        return f"{_NAMES[base]}.{kind}"
    _, _, number, rest = base.split(".", 3)
    return f"blk.{number}.{_NAMES[rest]}.{kind}"


def _add_tokenizer(writer: Any, tokenizer: Any, size: int) -> None:
    made = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(made["vocab"], key=made["vocab"].get)
    tokens += [f"[PAD{number}]" for number in range(len(tokens), size)]  # as converters do
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in made["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
