"""What an edit works on: prompts with their facts and general code, as tensors ready to run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.anchor import Anchor, Windows, choose, cut_windows, load_anchor
from hfbiasedit.editing.batches import PromptBatch, by_length, pack
from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.execution import Trunk, logits_at
from hfbiasedit.editing.objective import Original, bias_terms
from hfbiasedit.scoring.continuations import EncodedPrompt, encode

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

WINDOW = 64  # tokens of an anchor window
PLACES = 16  # places of a window that are compared
TOP = 128  # tokens of the original's distribution that are kept per place
_PIECE = 16  # sequences of one forward pass


@dataclass
class Prompts:
    """Records and their encodings; `share` and `log_mass`: the original model's, once measured."""

    records: tuple[Record, ...]
    encoded: list[EncodedPrompt]
    share: list[float] = field(default_factory=list)
    log_mass: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def batch(self, index: Sequence[int], weight: Sequence[float] | None = None) -> PromptBatch:
        """Some prompts as tensors, with the original's gender mass where it is known."""
        made = pack(self.encoded, self.records, index, weight)
        if self.log_mass:
            made = replace(made, log_mass=torch.tensor([self.log_mass[item] for item in index]))
        return made

    def batches(self, index: Sequence[int], size: int = _PIECE) -> list[PromptBatch]:
        """All of them in batches of similar length; every prompt weighs 1 / len(index)."""
        weight = 1 / max(1, len(index))
        return [
            self.batch(chunk, [weight] * len(chunk))
            for chunk in by_length(self.encoded, index, size)
        ]


def gather_prompts(loaded: LoadedModel, config: LocateConfig, split: str, limit: int) -> Prompts:
    """A balanced sample of a split of the full configuration (or of the user's prompts)."""
    most = limit if config.limit is None else min(limit, config.limit)
    found = load_prompts(
        "full",
        split,
        reference=config.reference,
        prompts=config.prompts,
        professions=config.professions,
        limit=most,
        seed=config.seed,
    )
    return Prompts(found.records, encode(loaded.tokenizer, found.records))


@torch.no_grad()
def measure_original(loaded: LoadedModel, prompts: Prompts) -> None:
    """Fill in the original model's shares and gender masses."""
    shares, masses = torch.zeros(len(prompts)), torch.zeros(len(prompts))
    for batch in prompts.batches(range(len(prompts))):
        terms = bias_terms(batch, run(loaded, batch))
        shares[batch.index] = terms.share.float().cpu()
        masses[batch.index] = terms.log_mass.float().cpu()
    prompts.share, prompts.log_mass = shares.tolist(), masses.tolist()


def run(
    loaded: LoadedModel, batch: PromptBatch | Windows, trunk: Trunk | None = None
) -> torch.Tensor:
    """Logits [N, vocabulary] at the places of a batch; starts at the trunk's block when it can."""
    ids = batch.input_ids.to(loaded.device)
    if trunk is None or batch.hidden is None:
        return logits_at(loaded.model, ids, batch.sequence, batch.position)
    with trunk.skipped(batch.hidden):
        return logits_at(loaded.model, ids, batch.sequence, batch.position)


def bias_probes(prompts: Prompts, size: int, seed: int) -> list[list[int]]:
    """Small groups of prompts of one template and one side (women written too rarely / too often).

    `measure_original` must have run. Groups of fewer than a quarter of `size` are left out unless
    there would be none.
    """
    rng = random.Random(seed)
    groups: dict[tuple[str, bool], list[int]] = {}
    for number, record in enumerate(prompts.records):
        low = prompts.share[number] < record.share_female
        groups.setdefault((record.template, low), []).append(number)
    chosen = []
    for key in sorted(groups):
        members = groups[key]
        chosen.append(sorted(rng.sample(members, min(size, len(members)))))
    large = [members for members in chosen if 4 * len(members) >= size]
    return large or chosen


def prepare_windows(
    loaded: LoadedModel, anchor: Anchor, count: int, seed: int, *, length: int = WINDOW
) -> Windows:
    """Windows of the anchor for this model's tokenizer."""
    return cut_windows(
        loaded.tokenizer, anchor.texts, count=count, length=length, places=PLACES, seed=seed
    )


@torch.no_grad()
def remember_original(loaded: LoadedModel, windows: Windows, trunk: Trunk | None) -> Windows:
    """Add what `loss_keep` compares with: the original's likeliest tokens, streamed once.

    With a trunk the hidden states that enter its first block are kept too.
    """
    tokens, values, hidden = [], [], []
    for start in range(0, len(windows), _PIECE):
        piece = choose(windows, range(start, min(start + _PIECE, len(windows))))
        ids = windows.input_ids[start : start + _PIECE].to(loaded.device)
        state = trunk.capture(ids) if trunk else None
        piece = replace(piece, input_ids=ids, hidden=state)
        original = Original.of(run(loaded, piece, trunk), TOP)
        tokens.append(original.tokens)
        values.append(original.log_probabilities)
        hidden.append(state)
    joined = torch.cat([state for state in hidden if state is not None]) if trunk else None
    return replace(windows, original=Original(torch.cat(tokens), torch.cat(values)), hidden=joined)


def with_hidden(loaded: LoadedModel, batch: PromptBatch, trunk: Trunk | None) -> PromptBatch:
    """The batch with the hidden states that enter the trunk's first block."""
    if trunk is None:
        return batch
    return replace(batch, hidden=trunk.capture(batch.input_ids.to(loaded.device)))


def code_losses(loaded: LoadedModel, windows: Windows) -> list[Callable[[], torch.Tensor]]:
    """One loss per window: mean negative log-likelihood of its tokens."""

    def loss(number: int) -> torch.Tensor:
        window = choose(windows, [number])
        logits = run(loaded, window).float()
        following = window.input_ids[window.sequence, window.position + 1]
        return torch.nn.functional.cross_entropy(logits, following.to(logits.device))

    return [lambda number=number: loss(number) for number in range(len(windows))]  # type: ignore[misc]


def default_anchor(config: LocateConfig) -> Anchor:
    """The anchor that a configuration names."""
    return load_anchor(config.anchor)
