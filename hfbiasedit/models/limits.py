"""What a model can hold: the tokens of its embedding and the positions of its context."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, cast

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.configuration import stated_context

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# What a table of learned positions is called.
_TABLES = ("wpe", "position_embeddings", "position_embedding", "embed_positions")


def most_positions(model: PreTrainedModel) -> int | None:
    """Most tokens that a model takes, or None where nothing limits them.

    A table of learned positions counts too: some models keep its first rows for padding (the row
    after `padding_idx` is position 0), so that it holds fewer positions than the configuration
    says. A table of a tower for images or sound limits nothing.
    """
    from hfbiasedit.models.architecture import decoder_modules

    stated = stated_context(model.config)
    limits = [] if stated is None else [stated]
    inside = decoder_modules(model)
    for name, module in model.named_modules():
        if module not in inside:
            continue
        rows = getattr(module, "num_embeddings", None)
        if name.rpartition(".")[2] in _TABLES and isinstance(rows, int):
            padding = getattr(module, "padding_idx", None)
            first = 0 if padding is None else padding + 1
            limits.append(rows - int(getattr(module, "offset", first)))
    return min(limits, default=None)


def check_fit(model: PreTrainedModel, texts: Iterable[tuple[str, Collection[int], int]]) -> None:
    """Refuse texts that a model cannot hold.

    Args:
        model: a causal language model.
        texts: of each what to call it, such as "prompt 3", its tokens, and the positions it takes.

    Raises:
        BiasEditError: there are more than the model's positions, or one is beyond its embedding.
    """
    limit = most_positions(model)
    vocabulary = cast("torch.nn.Embedding", model.get_input_embeddings()).weight.shape[0]
    for name, tokens, length in texts:
        if limit is not None and length > limit:
            raise BiasEditError(
                f"{name} has {length} tokens and the model takes {limit}; "
                "shorten it or use another model"
            )
        if max(tokens, default=0) >= vocabulary:
            raise BiasEditError(
                f"the tokenizer does not belong to this model: {name} has a token "
                f"beyond its {vocabulary} embeddings"
            )
