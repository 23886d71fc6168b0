"""Batches of prompts as one tree of tokens: what prompts begin with in common runs once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.material.batches import PromptBatch, Tokens, arranged, pack
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.running.paths import Paths
from hfbiasedit.models.exhaustion import out_of_memory
from hfbiasedit.scoring.batches import tolerance_of
from hfbiasedit.scoring.continuations import EncodedPrompt
from hfbiasedit.scoring.grouping import by_tokens
from hfbiasedit.scoring.logits import can_share_prefix
from hfbiasedit.scoring.packing import can_pack
from hfbiasedit.scoring.trees import grow, rounded

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_TRIED = 4  # prompts that a model is tried with


def pack_tree(
    encoded: Sequence[EncodedPrompt],
    records: Sequence[Record],
    index: Sequence[int],
    weight: Sequence[float] | None = None,
) -> PromptBatch:
    """Make one batch of the prompts `index`; weights are equal (summing to 1) unless given."""
    tree = rounded(grow([encoded[item] for item in index]))

    def home(number: int, path: Tokens) -> tuple[int, int]:
        return 0, tree.places[number, path]

    numbers = np.array([number for number, _ in tree.places])
    places = np.array(list(tree.places.values()))
    token = np.arange(len(tree.tokens))[:, None]
    leads = (token <= places) & (places < tree.ends[:, None])  # a token leads to a place
    inside = torch.zeros(len(index), len(token), dtype=torch.bool)
    for number in range(len(index)):
        inside[number] = torch.from_numpy(leads[:, numbers == number].any(1))
    ids = torch.from_numpy(tree.tokens)[None]
    return arranged(encoded, records, index, weight, ids, home, tree, Paths.of(inside))


@torch.no_grad()
def bears_trees(
    loaded: LoadedModel, encoded: Sequence[EncodedPrompt], records: Sequence[Record]
) -> bool:
    """Whether a model says the same of prompts in a tree as of each by itself (tried on a few)."""
    if not (encoded and can_share_prefix(loaded.model) and can_pack(loaded.model)):
        return False
    model = loaded.model
    if model.device.type == "meta" and not hasattr(model, "hf_device_map"):
        return True  # there are no weights to try it with
    some = by_tokens(encoded)[:_TRIED]
    plain = _said(loaded, pack(encoded, records, some))
    try:
        packed = _said(loaded, pack_tree(encoded, records, some))
    except Exception as error:
        if out_of_memory(error):
            raise
        return False
    return bool(((plain - packed).abs() <= tolerance_of(loaded.dtype)).all())


def _said(loaded: LoadedModel, batch: PromptBatch) -> Tensor:
    return torch.cat(batch.to(loaded.device).log_probabilities(run(loaded, batch)))
