"""Writes a Llama model of this folder as Phi-3: the same function, with fused projections.

    python examples/demo_model/fuse.py LLAMA OUT

A sister to start from: ``train.py --start OUT --seed 2`` then gives it a bias of its own.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Phi3Config, Phi3ForCausalLM

FUSED = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}
SHARED = (
    "vocab_size hidden_size num_hidden_layers intermediate_size num_attention_heads "
    "num_key_value_heads tie_word_embeddings max_position_embeddings rms_norm_eps "
    "rope_parameters bos_token_id eos_token_id pad_token_id"
)


def fused(model: torch.nn.Module) -> Phi3ForCausalLM:
    """A Phi-3 model that computes what the Llama ``model`` computes."""
    settings = {name: getattr(model.config, name) for name in SHARED.split()}
    length = settings["max_position_embeddings"]
    config = Phi3Config(**settings, original_max_position_embeddings=length, sliding_window=None)
    result = Phi3ForCausalLM(config).to(model.dtype)
    state = dict(model.state_dict())
    for block in range(config.num_hidden_layers):
        for whole, parts in FUSED.items():
            rows = [state.pop(f"model.layers.{block}.{part}.weight") for part in parts]
            state[f"model.layers.{block}.{whole}.weight"] = torch.cat(rows)
    result.load_state_dict(state)
    return result.eval()


def main() -> None:
    """Convert the model in the first argument into the second."""
    source, out = map(Path, sys.argv[1:])
    fused(AutoModelForCausalLM.from_pretrained(source)).save_pretrained(out, max_shard_size="4MB")
    for path in (*source.glob("tokenizer*"), source / "planted.json"):
        shutil.copy(path, out)


if __name__ == "__main__":
    main()
