"""General code as tensors: windows of tokens, and the places in them that are compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hfbiasedit.editing.material.objective import Original
from hfbiasedit.editing.running.activations import device_memory, tokens_at_once
from hfbiasedit.editing.running.room import halved
from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.anchor import Anchor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfbiasedit.models.loading import LoadedModel

WINDOW = 64  # tokens of an anchor window
PLACES = 16  # places of a window that are compared
_WATCHED = 96  # windows on which the divergence is measured
# Windows of one pass, whose logits take memory; more where a GPU has the room.
_AT_ONCE, _AT_ONCE_GPU = 8, 32


@dataclass(frozen=True)
class Windows:
    """`W` windows of at most `T` tokens [W, T] (padded on the right) and their lengths [W].

    `position` lists N places (window `sequence[n]`, token `position[n]`) whose next-token
    distribution is compared; `original` is the original model's there. `hidden`: see `PromptBatch`.
    """

    input_ids: Tensor
    lengths: Tensor
    sequence: Tensor
    position: Tensor
    original: Original | None = None
    hidden: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def prepare_windows(
    loaded: LoadedModel, anchor: Anchor, count: int, seed: int, *, length: int = WINDOW
) -> Windows:
    """Windows of the anchor for this model's tokenizer."""
    return sample_windows(
        loaded.tokenizer, anchor.texts, count=count, length=length, places=PLACES, seed=seed
    )


def sample_windows(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    count: int,
    length: int,
    places: int,
    seed: int,
) -> Windows:
    """At most `count` windows spread over the documents, with `places` places each, by seed.

    Raises:
        BiasEditError: no document is long enough for a window of eight tokens.
    """
    rng = random.Random(seed)
    bos = tokenizer.bos_token_id
    prefix = [bos] if bos is not None and _adds_bos(tokenizer) else []
    per_document = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        room = length - len(prefix)
        pieces = [prefix + ids[start : start + room] for start in range(0, len(ids), room)]
        pieces = [piece for piece in pieces if len(piece) >= 8]
        rng.shuffle(pieces)
        per_document.append(pieces)
    rng.shuffle(per_document)
    deepest = max((len(pieces) for pieces in per_document), default=0)
    # One window of every document before a second of any: variety counts more than length.
    rows = [
        pieces[turn] for turn in range(deepest) for pieces in per_document if turn < len(pieces)
    ]
    rows = rows[:count]
    if not rows:
        raise BiasEditError(
            "the anchor has no document of at least eight tokens; give a longer one"
        )
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows])
    where = []
    for number, row in enumerate(rows):
        options = range(len(row) - 1)  # places with a next token
        chosen = rng.sample(options, min(places, len(options)))
        where += [(number, position) for position in sorted(chosen)]
    table = torch.tensor(where)
    lengths = torch.tensor([len(row) for row in rows])
    return Windows(ids, lengths, table[:, 0].clone(), table[:, 1].clone())


def choose(windows: Windows, index: Sequence[int]) -> Windows:
    """Some of the windows, as a set of their own."""
    rows = torch.tensor(list(index))
    renumber = torch.full((len(windows),), -1)
    renumber[rows] = torch.arange(len(rows))
    kept = renumber[windows.sequence] >= 0
    original = windows.original and Original(
        windows.original.tokens[kept], windows.original.log_probabilities[kept]
    )
    longest = int(windows.lengths[rows].max())
    hidden = None if windows.hidden is None else windows.hidden[rows, :longest]
    # Places are ordered by window, and `rows` is used in ascending order, so they stay aligned.
    return Windows(
        windows.input_ids[rows, :longest],
        windows.lengths[rows],
        renumber[windows.sequence[kept]],
        windows.position[kept],
        original,
        hidden,
    )


def windows_at_once(model: nn.Module, device: torch.device) -> int:
    """How many windows go through a model together; fewer where memory has run out."""
    if device_memory(device) is None:
        return halved(_AT_ONCE)
    fitting = tokens_at_once(model, device) // WINDOW
    return halved(min(max(fitting, _AT_ONCE), _AT_ONCE_GPU))


def split_windows(windows: Windows) -> tuple[Windows, Windows]:
    """Most to train with, the others (about `_WATCHED`) to watch; both from all over the anchor."""
    every = max(4, len(windows) // _WATCHED)
    numbers = list(range(len(windows)))
    watch = numbers[every - 1 :: every] or numbers
    keep = [number for number in numbers if number % every != every - 1]
    return choose(windows, keep), choose(windows, watch)


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id
