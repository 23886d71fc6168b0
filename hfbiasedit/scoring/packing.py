"""Many prompts in one row of tokens: attention within a tree, everything else as it is.

Embeddings, projections and MLPs of a decoder treat each token alone, so a row may hold any tokens
in any order. Only attention must keep prompts apart. transformers lets it be exchanged by name:
here each window of the tree gathers the keys and values that it may see and goes through the same
attention function as ever. Which of them a token sees is asked of the model's own mask function
with the tokens' positions, so that sliding windows and chunks hold as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from hfbiasedit.scoring.trees import Tree, windows

if TYPE_CHECKING:
    import numpy as np

_NAME = "hfbiasedit_tree"
_USUAL = "sdpa"  # the attention that is gathered for


@dataclass(frozen=True)
class _Part:
    """Windows of one size as tensors; see `trees.Windows`."""

    queries: torch.Tensor
    keys: torch.Tensor
    sees: torch.Tensor
    asking: torch.Tensor  # positions of the queries, [windows, width, 1]
    asked: torch.Tensor  # positions of the keys, [windows, 1, seen]


class _Layout:
    """A tree's windows, on every device that asks."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._windows = tree, windows(tree)
        self.sizes = [part.sees.size for part in self._windows]
        self._on: dict[torch.device, tuple[list[_Part], torch.Tensor]] = {}

    def on(self, device: torch.device) -> tuple[list[_Part], torch.Tensor]:
        """The parts, and where in their queries, one part after another, each token stands."""
        if device not in self._on:

            def move(values: np.ndarray) -> torch.Tensor:
                return torch.from_numpy(values).to(device)

            parts = [
                _Part(
                    move(part.queries),
                    move(part.keys),
                    move(part.sees),
                    move(self._tree.depths[part.queries][:, :, None]),
                    move(self._tree.depths[part.keys][:, None, :]),
                )
                for part in self._windows
            ]
            queries = torch.cat([part.queries.flatten() for part in parts])
            back = torch.empty(len(self._tree.tokens), dtype=torch.int64, device=device)
            back[queries] = torch.arange(len(queries), device=device)
            self._on[device] = parts, back
        return self._on[device]


_CURRENT: ContextVar[_Layout] = ContextVar("the tree that is run")


def can_pack(model: PreTrainedModel) -> bool:
    """Whether a model's attention can be exchanged and its positions can be given."""
    return (
        "position_ids" in inspect.signature(model.forward).parameters
        and getattr(model, "_supports_attention_backend", False)
        and all(
            module.config._attn_implementation == _USUAL
            for module in model.modules()
            if isinstance(module, PreTrainedModel)
        )
    )


@contextmanager
def packed(model: PreTrainedModel, tree: Tree, device: torch.device) -> Iterator[dict[str, Any]]:
    """Make a model keep to a tree within the block; yields the inputs for its forward pass."""
    token = _CURRENT.set(_Layout(tree))
    model.set_attn_implementation(_NAME)
    try:
        ids = torch.from_numpy(tree.tokens)[None].to(device)
        yield {
            "input_ids": ids,
            "position_ids": torch.from_numpy(tree.depths)[None].to(device),
            # Without one, transformers takes a jump back in the positions for a new sequence.
            "attention_mask": torch.ones_like(ids),
            "use_cache": False,
        }
    finally:
        model.set_attn_implementation(_USUAL)
        _CURRENT.reset(token)


def _mask(
    *, mask_function: Callable[..., torch.Tensor], device: torch.device | str, **_: Any
) -> torch.Tensor:
    """What each token sees, bool: the windows' masks, flattened, one after another."""
    parts, _back = _CURRENT.get().on(torch.device(device))
    return torch.cat(
        [(mask_function(0, 0, part.asking, part.asked) & part.sees).flatten() for part in parts]
    )


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a row [1, heads, tokens, width], window by window."""
    if options.get("position_bias") is not None:
        raise NotImplementedError("a bias by place in the row has no meaning in a tree")
    layout = _CURRENT.get()
    usual = AttentionInterface()[_USUAL]
    parts, back = layout.on(query.device)
    found = []
    for part, mask in zip(parts, attention_mask.split(layout.sizes), strict=True):
        shape = (part.sees.shape[0], 1, *part.sees.shape[1:])
        result, _weights = usual(
            module,
            _rows(query, part.queries),
            _rows(key, part.keys),
            _rows(value, part.keys),
            mask.view(shape),
            **options,
        )
        found.append(result.flatten(0, 1))  # [windows * width, heads, width of a head]
    return torch.cat(found).index_select(0, back)[None], None


def _rows(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """[1, heads, tokens, width] at [windows, n] -> [windows, heads, n, width]."""
    rows = states[0].transpose(0, 1).index_select(0, index.flatten())
    return rows.unflatten(0, index.shape).transpose(1, 2)


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)
