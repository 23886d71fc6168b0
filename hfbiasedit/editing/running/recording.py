"""What passes through projections: their inputs, and the gradients of their outputs.

A loss that adds up over sequences reaches a projection's output at place t of sequence s only
through that sequence, so one backward pass over a batch holds all per-sequence gradients: for a
matrix with input x [S, T, in] and output gradient g [S, T, out] that of sequence s is the sum over
t of g[s, t] x[s, t]^T. What is made of the two is up to the receiver, which sees every projection
the moment its gradient is complete, so that no two of them need to be alive at once.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import submodule_weight

# name of the weight, x [S, T, in], g [S, T, out], both in the model's dtype
Receiver = Callable[[str, Tensor, Tensor], None]


def is_recordable(model: nn.Module, names: Iterable[str]) -> bool:
    """Whether every name is the weight of a plain `Linear` or `Conv1D` that is used as it is.

    A weight that several modules share would be recorded in one of them, and the head sees chosen
    places of all sequences in a row (`logits_at`).
    """
    holders: Counter[int] = Counter(
        id(weight) for module in model.modules() for weight in module._parameters.values()
    )
    head = model.get_output_embeddings()  # type: ignore[operator]
    for name in names:
        module, attribute = submodule_weight(model, name)
        plain = attribute == "weight" and type(module) in (nn.Linear, Conv1D)
        if not plain or module is head or holders[id(module.weight)] > 1:
            return False
    return True


def widths_of(module: nn.Module) -> tuple[int, int]:
    """How many outputs and inputs a `Linear` or `Conv1D` has."""
    first, second = module.get_parameter("weight").shape
    return (second, first) if isinstance(module, Conv1D) else (first, second)


@contextlib.contextmanager
def recorded(model: nn.Module, names: Iterable[str], receive: Receiver) -> Iterator[None]:
    """Inside the block every backward pass hands on what went through the named projections.

    The model has to be called with `input_ids` [S, T] by name.

    Raises:
        BiasEditError: in a forward pass, where a projection is not given every token.
    """
    # Weights are frozen: something must ask for a gradient, or there would be no backward pass.
    spark = torch.zeros((), requires_grad=True)
    shape = (0, 0)  # of the token ids of the pass

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal shape
        shape = tuple(kwargs["input_ids"].shape)

    def hook(name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return output
            if not output.requires_grad:
                output = output + spark.to(output)
            x, ids = _by_sequence(name, args[0].detach(), shape), shape
            output.register_hook(lambda g: receive(name, x, _by_sequence(name, g, ids)))
            return output

        return record

    with contextlib.ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(note, with_kwargs=True).remove)
        for name in names:
            module, _ = submodule_weight(model, name)
            stack.callback(module.register_forward_hook(hook(name)).remove)
        yield


def _by_sequence(name: str, side: Tensor, shape: tuple[int, int]) -> Tensor:
    """[S, T, n] of what some models hand on as [S * T, n], or with an axis between.

    Raises:
        BiasEditError: the module was given other than every token once, as an expert is.
    """
    sequences, tokens = shape
    if side.numel() != sequences * tokens * side.shape[-1]:
        raise BiasEditError(
            f"{name} is used for some tokens only, so that gradients of single prompts cannot be "
            "told apart; use --saliency contrastive and --solver adam"
        )
    return side.reshape(sequences, tokens, -1)
