"""Run a causal language model only where it is needed.

Two things every decoder-only model of transformers has are used, and nothing else is assumed: a
list of blocks that pass hidden states on, and an output head. Blocks below the lowest edited one
are replaced by the identity and what enters that one is put in from memory (`Trunk`); the head is
given only the places whose logits are read (`logits_at`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hfbiasedit.models.architecture import decoder_blocks
from hfbiasedit.models.attention import any_shape
from hfbiasedit.models.exhaustion import out_of_memory
from hfbiasedit.scoring.trees import rounded_up


class _Stop(Exception):
    """Leaves the model's forward pass once what it was run for is known."""


def logits_at(
    model: nn.Module, input_ids: Tensor, sequence: Tensor, position: Tensor, **more: Any
) -> Tensor:
    """Logits [N, vocabulary] at N places of [S, T] token ids; the head runs on those only.

    `more` is handed to the model as well.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    count = len(position)
    # A few places more, so that the head sees few numbers of them.
    wanted = torch.arange(rounded_up(count), device=position.device).clamp_max(count - 1)

    def pick(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = args[0]
        chosen = hidden[sequence[wanted].to(hidden.device), position[wanted].to(hidden.device)]
        return (chosen.unsqueeze(0), *args[1:])

    if head is None:
        logits = _forward(model, input_ids, more)
        return logits[sequence.to(logits.device), position.to(logits.device)]
    with _removed(head.register_forward_pre_hook(pick)):
        return _forward(model, input_ids, more).squeeze(0)[:count]


def _forward(model: nn.Module, input_ids: Tensor, more: Mapping[str, Any]) -> Tensor:
    with any_shape():
        return model(input_ids=input_ids, **{"use_cache": False, **more}).logits


class Trunk:
    """The blocks below `first`: run once with `capture`, skipped with `skipped`."""

    def __init__(self, model: nn.Module, first: int) -> None:
        self.model, self.first = model, first
        self.blocks = [block for _, block in decoder_blocks(model)]
        self._tuple_length: int | None = None

    @torch.no_grad()
    def capture(self, input_ids: Tensor, **more: Any) -> Tensor:
        """What enters block `first`, [S, T, H], in the model's dtype; that block does not run.

        `more` is handed to the model as well.
        """
        found: list[Tensor] = []

        def take(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(args[0] if args else kwargs["hidden_states"])
            raise _Stop

        def look(module: nn.Module, args: Any, output: Any) -> None:
            self._tuple_length = len(output) if isinstance(output, tuple) else None

        with contextlib.ExitStack() as stack:
            entry = self.blocks[self.first]
            stack.enter_context(_removed(entry.register_forward_pre_hook(take, with_kwargs=True)))
            if self.first:
                stack.enter_context(_removed(self.blocks[0].register_forward_hook(look)))
            stack.enter_context(contextlib.suppress(_Stop))
            _forward(self.model, input_ids, more)
        return found[0].detach().clone()

    @contextlib.contextmanager
    def skipped(self, hidden: Tensor | None) -> Iterator[None]:
        """Inside the block a forward pass starts at block `first` with `hidden`; None runs all."""
        if hidden is None:
            yield
            return

        def put(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if args:
                return (hidden, *args[1:]), kwargs
            return args, kwargs | {"hidden_states": hidden}

        with contextlib.ExitStack() as stack:
            for block in self.blocks[: self.first]:
                stack.enter_context(replaced_forward(block, self._identity))
            entry = self.blocks[self.first]
            stack.enter_context(_removed(entry.register_forward_pre_hook(put, with_kwargs=True)))
            yield

    def _identity(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._tuple_length is None:
            return hidden_states
        return (hidden_states,) + (None,) * (self._tuple_length - 1)

    @torch.no_grad()
    def is_faithful(self, input_ids: Tensor) -> bool:
        """Whether starting at block `first` gives the logits of the whole model on these tokens.

        It does not for models that pass more than hidden states from block to block.
        """
        rows = torch.arange(len(input_ids))
        last = torch.full_like(rows, input_ids.shape[1] - 1)
        whole = logits_at(self.model, input_ids, rows, last).float()
        try:
            with self.skipped(self.capture(input_ids)):
                short = logits_at(self.model, input_ids, rows, last).float()
        except (TypeError, AttributeError, KeyError, RuntimeError, ValueError) as error:
            if out_of_memory(error):
                raise
            return False
        tolerance = 1e-4 if next(self.model.parameters()).element_size() >= 4 else 0.1
        return bool(torch.allclose(whole, short, atol=tolerance, rtol=tolerance))


@contextlib.contextmanager
def replaced_forward(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Let calls of `module` run `function`; accelerate's device hooks around it stay in place."""
    name = "_old_forward" if hasattr(module, "_hf_hook") else "forward"
    before = module.__dict__.get(name)
    module.__dict__[name] = function
    try:
        yield
    finally:
        if before is None:
            del module.__dict__[name]
        else:
            module.__dict__[name] = before


@contextlib.contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
