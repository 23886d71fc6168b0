"""What passes through projections: their inputs, and the gradients of their outputs.

A loss that adds up over sequences reaches a projection's output at place t of sequence s only
through that sequence, so one backward pass over a batch holds all per-sequence gradients: for a
matrix with input x [S, T, in] and output gradient g [S, T, out] that of sequence s is the sum over
t of g[s, t] x[s, t]^T. What is made of the two is up to the receiver, which sees every projection
the moment its gradient is complete, so that no two of them need to be alive at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.models.architecture import submodule_weight

# name of the weight, x [S, T, in], g [S, T, out], both in the model's dtype
Receiver = Callable[[str, Tensor, Tensor], None]


def is_recordable(model: nn.Module, names: Iterable[str]) -> bool:
    """Whether every name is the weight of a plain `Linear` or `Conv1D`."""
    for name in names:
        module, attribute = submodule_weight(model, name)
        if attribute != "weight" or type(module) not in (nn.Linear, Conv1D):
            return False
    return True


@contextlib.contextmanager
def recorded(model: nn.Module, names: Iterable[str], receive: Receiver) -> Iterator[None]:
    """Inside the block every backward pass hands on what went through the named projections."""
    # Weights are frozen: something must ask for a gradient, or there would be no backward pass.
    spark = torch.zeros((), requires_grad=True)

    def hook(name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return output
            if not output.requires_grad:
                output = output + spark.to(output)
            x = args[0].detach()
            output.register_hook(lambda gradient: receive(name, x, gradient))
            return output

        return record

    with contextlib.ExitStack() as stack:
        for name in names:
            module, _ = submodule_weight(model, name)
            stack.callback(module.register_forward_hook(hook(name)).remove)
        yield
