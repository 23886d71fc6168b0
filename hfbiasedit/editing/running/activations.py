"""What a token goes through, the memory that a backward pass keeps of it, and how many fit.

A token goes through every projection once, through some of stacked experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import Projection, decoder_blocks, projections

# Held for a backward pass, in times of what goes into and comes out of the projections: inputs,
# what activation functions and norms remember in float32, and the gaps that glibc leaves between
# aligned pieces (about half). Measured at SmolLM2-135M and Qwen2.5-Coder-0.5B on a processor; a
# GPU has no such gaps (the same two, on an H200).
KEPT, KEPT_GPU = 2.1, 1.05
ROOM = 640 << 20  # bytes that activations of one pass may take
# Tokens of one pass. Windows of general code take the fewest in any case, and a processor is kept
# busy by them; more than the most are of no use.
_FEWEST, _MOST, _STEP = 512, 1024, 64
# A GPU waits as long for hundreds of tokens as for thousands, and its memory is its own: of what
# the model leaves activations may take this share, and rows of linear models as much.
_MOST_GPU, _SHARE_GPU = 4096, 1 / 3


def matrices_per_token(model: nn.Module, item: Projection) -> int:
    """How many of the matrices of a tensor a token is given to.

    Raises:
        BiasEditError: the configuration of a model with experts does not say it.
    """
    if item.experts == 1:
        return 1
    config: Any = model.config
    found = getattr(config.get_text_config(), "num_experts_per_tok", None)
    if not isinstance(found, int):
        raise BiasEditError(
            "the model's configuration does not say how many experts a token is given to "
            "(num_experts_per_tok), so that there is no forecast"
        )
    return min(found, item.experts)


def sides_per_token(model: nn.Module, item: Projection) -> int:
    """Outputs and inputs of the matrices of a tensor that a token is given to."""
    return matrices_per_token(model, item) * (item.rows // item.experts + item.columns)


def bytes_per_token(model: nn.Module, device: torch.device, checkpoint: bool = False) -> float:
    """Memory of a device that a forward pass keeps of a token until the backward pass.

    With `checkpoint` that is what enters the blocks, and one block at a time.

    Raises:
        BiasEditError: see `matrices_per_token`.
    """
    kept = KEPT_GPU if device.type == "cuda" else KEPT
    held = kept * sum(sides_per_token(model, item) for item in projections(model))
    weight = next(model.parameters())
    if checkpoint:
        blocks = len(decoder_blocks(model))
        hidden = model.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
        held = held / blocks + blocks * hidden
    return held * weight.element_size()


def tokens_at_once(model: nn.Module, device: torch.device, checkpoint: bool = False) -> int:
    """How many tokens of prompts go through a model on a device together, forwards and back."""
    own = room_on(model, device)
    room, most = (ROOM, _MOST) if own is None else (own, _MOST_GPU)
    try:
        fitting = int(room / bytes_per_token(model, device, checkpoint))
    except BiasEditError:
        fitting = _FEWEST
    return min(max(fitting // _STEP * _STEP, _FEWEST), most)


def room_on(model: nn.Module, device: torch.device) -> float | None:
    """Bytes of a device's own memory that one kind of an edit's tensors may take beside a model."""
    own = device_memory(device)
    if own is None:
        return None
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return _SHARE_GPU * max(0, own - size)


def beside(device: torch.device) -> torch.device:
    """Where what is made of passes on a device is kept: there, if it is known to do all of that.

    Others lack float64, bfloat16 or generators of their own (Apple's GPUs).
    """
    return device if device.type == "cuda" else torch.device("cpu")


def device_memory(device: torch.device) -> int | None:
    """Bytes of a device's own memory, used or not; None where there is none or nobody can tell."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)
