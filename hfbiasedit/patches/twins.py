"""Embeddings and heads that a checkpoint stores twice: whether they are one weight or two.

Configurations do not decide that alone. A loader ties the two when the configuration (or, where
that says nothing, its class) wants it and the stored tensors are equal; a head that differs stays
a head of its own. So a patch that changes one of two equal copies would untie the model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from hfbiasedit.checkpoints.storage import Checkpoint, Place
from hfbiasedit.errors import BiasEditError

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_HEADS = ("lm_head.weight", "embed_out.weight", "output.weight")
_PIECE = 1 << 22  # bytes compared at a time


def twins(checkpoint: Checkpoint, name: str) -> list[str]:
    """Stored tensors that may be the head of this embedding, or the embedding of this head."""
    if not name.endswith((*_EMBEDDINGS, *_HEADS)):
        return []
    others = _HEADS if name.endswith(_EMBEDDINGS) else _EMBEDDINGS
    own = checkpoint.tensors[name].info
    return [
        other
        for other, place in checkpoint.tensors.items()
        if other.endswith(others) and (place.info.shape, place.info.dtype) == (own.shape, own.dtype)
    ]


def equal_twins(checkpoint: Checkpoint, name: str) -> list[str]:
    """Those of the twins that hold the same bits."""
    own = checkpoint.tensors[name]
    return [
        other
        for other in twins(checkpoint, name)
        if _equal(checkpoint, own, checkpoint.tensors[other])
    ]


def refuse_untying(checkpoint: Checkpoint, edited: Collection[str]) -> None:
    """Refuse to change one of two stored copies of a tied embedding: it would untie the model.

    Args:
        checkpoint: the checkpoint before the change.
        edited: names of all stored tensors that will change.

    Raises:
        BiasEditError: a copy is left out.
    """
    for name in sorted(edited):
        others = set(twins(checkpoint, name)) - set(edited)
        if not others or _says(checkpoint.config) is False:
            continue
        for twin in others.intersection(equal_twins(checkpoint, name)):
            if _ties(checkpoint.config):
                raise BiasEditError(
                    f"{name} is tied to {twin}, which this checkpoint stores as well and the "
                    "patch does not change, so that the model would come apart; make the patch "
                    "from the loaded model"
                )


def _says(config: Mapping[str, Any]) -> bool | None:
    """What a configuration says about tying; None for nothing."""
    for level in (config, config.get("text_config")):
        said = level.get("tie_word_embeddings") if isinstance(level, Mapping) else None
        if isinstance(said, bool):
            return said
    return None


def _ties(config: Mapping[str, Any]) -> bool:
    """Whether equal copies are tied: as the configuration says, else as its class does."""
    said = _says(config)
    if said is not None:
        return said
    from transformers import AutoConfig  # seconds, and hardly ever needed

    try:
        return bool(AutoConfig.for_model(str(config.get("model_type"))).tie_word_embeddings)
    except (ValueError, KeyError, TypeError, AttributeError):
        return True  # of a class that is not known here: better refused than untied in silence


def _equal(checkpoint: Checkpoint, one: Place, other: Place) -> bool:
    size = one.info.end - one.info.begin
    left, right = (
        np.memmap(checkpoint.path / place.file, np.uint8, "r", place.info.begin, (size,))
        for place in (one, other)
    )
    return all(
        np.array_equal(left[start : start + _PIECE], right[start : start + _PIECE])
        for start in range(0, size, _PIECE)
    )
