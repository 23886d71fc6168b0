"""One decoder block of a model, with made-up weights: what a token costs in it can be measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hfbiasedit.models.architecture import decoder_blocks, parameter_count

_LARGEST = 1 << 30  # bytes of a block that is made
_LARGE = 1 << 25  # weights of a block that is given fewer tokens, so that it takes no minute
_TOKENS, _FEWER, _CONTEXT = 512, 128, 64  # tokens of a pass, and as many as one looks back at
_PATTERN = 4099  # numbers that weights repeat
_UNLIKE = (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Block:
    """A model that was cut down to its first block, the decoder in it, and what enters: [S, T, H].

    Of the model no other part has weights.
    """

    model: nn.Module
    decoder: nn.Module
    inputs: Tensor

    @property
    def tokens(self) -> int:
        """How many enter."""
        return self.inputs.shape[0] * self.inputs.shape[1]

    @torch.no_grad()
    def forward(self) -> Tensor:
        """One pass without gradients."""
        return self._run(self.inputs)

    def both(self) -> None:
        """One pass forwards and back to what entered; weights have no gradients."""
        entered = self.inputs.detach().requires_grad_(True)
        self._run(entered).float().sum().backward()

    def _run(self, entered: Tensor) -> Tensor:
        found: Tensor = self.decoder(inputs_embeds=entered, use_cache=False)[0]
        return found


def one_block(model: nn.Module, dtype: torch.dtype, device: torch.device) -> Block | None:
    """The first block of a model, whose own weights are not looked at.

    None where it is too large, or where the model's class is unlike those of transformers.
    """
    weights = parameter_count(decoder_blocks(model)[0][1])
    if weights * dtype.itemsize > _LARGEST:
        return None
    tokens = _TOKENS if weights < _LARGE else _FEWER
    try:
        with torch.device("meta"):
            cut: Any = type(model)(copy.deepcopy(model.config)).to(dtype)
        blocks = cut.get_submodule(decoder_blocks(cut)[0][0].rpartition(".")[0])
        del blocks[1:]
        decoder, embedding = cut.get_decoder(), cut.get_input_embeddings()
        for module in decoder.modules():
            if module is not embedding:  # the widest part, which is not used
                _fill(module, device)
        width = embedding.weight.shape[1]
        inputs = _pattern(tokens * width).view(tokens // _CONTEXT, _CONTEXT, width)
        block = Block(cut.eval().requires_grad_(False), decoder, inputs.to(device, dtype))
        block.both()
    except _UNLIKE:
        return None
    return block


@torch.no_grad()
def _fill(module: nn.Module, device: torch.device) -> None:
    """Give a module's own tensors values that are cheap to make and not all the same."""
    module.to_empty(device=device, recurse=False)
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    for tensor in own:
        if tensor.is_floating_point():
            tensor.copy_(0.02 * _pattern(tensor.numel()).view(tensor.shape))
        else:
            tensor.zero_()


def _pattern(count: int) -> Tensor:
    drawn = torch.randn(_PATTERN, generator=torch.Generator().manual_seed(0))
    return drawn.repeat(-(-count // _PATTERN))[:count]
