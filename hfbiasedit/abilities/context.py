"""How long a model's context is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_NAMES = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_UNLIMITED = 1 << 20  # no limit is stated (ALiBi, recurrent models)


def context_length(loaded: LoadedModel) -> int:
    """Most tokens that the model's configuration says it takes."""
    config = loaded.model.config.get_text_config()
    stated = [getattr(config, name, None) for name in _NAMES]
    lengths = [value for value in stated if isinstance(value, int) and value > 0]
    return min(lengths, default=_UNLIMITED)


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
