"""Gradients of all projection matrices, one matrix at a time.

A hook takes every weight's gradient the moment it is complete, hands it on and drops it, so that no
two of them are alive at once (a tied or shared matrix counts once). What is added up over several
batches is up to the receiver, which reduces it to sums per row and column.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from hfbiasedit.models.architecture import Projection

Receiver = Callable[[Projection, Tensor, Tensor], None]


@contextlib.contextmanager
def streamed(model: nn.Module, items: Iterable[Projection], receive: Receiver) -> Iterator[None]:
    """Inside the block every backward pass calls `receive(projection, weight, gradient)`.

    Both tensors are in the layout and dtype of the model; they must not be kept.
    """
    parameters = dict(model.named_parameters())
    handles = []
    chosen = [(item, parameters[item.name]) for item in items]

    def hook(item: Projection) -> Callable[[Tensor], None]:
        def take(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                receive(item, parameter.detach(), gradient)

        return take

    try:
        for item, parameter in chosen:
            parameter.requires_grad_(True)
            handles.append(parameter.register_post_accumulate_grad_hook(hook(item)))
        with torch.enable_grad():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for _, parameter in chosen:
            parameter.requires_grad_(False)
            parameter.grad = None


@contextlib.contextmanager
def checkpointing(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Recompute activations in the backward pass instead of keeping them, when `wanted`.

    transformers ties this to training mode, which would switch dropout on; only the blocks' own
    flag is set, so that everything else stays as in evaluation.
    """
    if not wanted:
        yield
        return
    # Newer versions of transformers call it by another name.
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    options = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(model, f"{kind}_checkpointing_enable")(**options)
    flagged = [module for module in model.modules() if getattr(module, "gradient_checkpointing", 0)]
    for module in flagged:
        module.training = True  # this module's flag alone: its children keep theirs
    try:
        yield
    finally:
        for module in flagged:
            module.training = False
        getattr(model, f"{kind}_checkpointing_disable")()
