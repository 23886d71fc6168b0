"""How long a model's context is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.limits import most_positions

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_UNLIMITED = 1 << 20  # tokens, where no limit is stated; more than any text that is cut


def context_length(loaded: LoadedModel) -> int:
    """Most tokens that the model takes at once."""
    return most_positions(loaded.model) or _UNLIMITED


def window_length(loaded: LoadedModel, wanted: int, shortest: int = 16) -> int:
    """A window of at most `wanted` tokens that fits into the model's context.

    Raises:
        BiasEditError: the context is shorter than `shortest` tokens.
    """
    length = context_length(loaded)
    if length < shortest:
        raise BiasEditError(
            f"the context of {loaded.source.id} is {length} tokens; at least {shortest} are needed"
        )
    return min(wanted, length)


def refuse_lost(loaded: LoadedModel, name: str, text: str, ids: Sequence[int]) -> None:
    """Refuse a tokenizer that makes nothing, or only unknown tokens, of a text.

    Args:
        loaded: the model. name: what to call the text. text: it. ids: its tokens.

    Raises:
        BiasEditError: it cannot encode the text.
    """
    tokenizer = loaded.tokenizer
    empty = {tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    if text.strip() and set(ids) <= empty:
        raise BiasEditError(
            f"the tokenizer of {loaded.source.id} makes nothing of {name}; it is not one for code, "
            "or its files are missing"
        )
