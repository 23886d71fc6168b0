"""How long a model's context is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.configuration import stated_context

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_UNLIMITED = 1 << 20  # tokens, where no limit is stated; more than any text that is cut


def context_length(loaded: LoadedModel) -> int:
    """Most tokens that the model takes at once."""
    return stated_context(loaded.model.config) or _UNLIMITED


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
