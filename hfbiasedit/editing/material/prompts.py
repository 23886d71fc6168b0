"""The prompts an edit learns from, with their facts and what the original model says to them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from hfbiasedit.codegenbias.configs import VERSION, config_name
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.codegenbias.weights import balanced_weights
from hfbiasedit.console import tracked
from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.material.batches import PromptBatch, by_length, pack
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.running.room import halved
from hfbiasedit.scoring.continuations import EncodedPrompt, encode

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_PIECE = 16  # prompts of one pass
SEEN = 0.05  # gender mass from which on a prompt counts fully
TOKENS = 512  # of one pass: fewer keep a processor less busy, more cost memory


@dataclass
class Prompts:
    """Records and their encodings; `share` and `log_mass`: the original model's, once measured."""

    records: tuple[Record, ...]
    encoded: list[EncodedPrompt]
    share: list[float] = field(default_factory=list)
    log_mass: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def joined(self, other: Prompts) -> Prompts:
        """These and behind them others; both have been measured, or neither."""
        return Prompts(
            self.records + other.records,
            self.encoded + other.encoded,
            self.share + other.share,
            self.log_mass + other.log_mass,
        )

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
            for chunk in by_length(self.encoded, index, halved(size), halved(TOKENS))
        ]


def learning_weights(prompts: Prompts, index: Sequence[int]) -> list[float]:
    """`weights_of` some prompts that have been measured (if not: of prompts that show a gender)."""
    records = [prompts.records[number] for number in index]
    if not prompts.log_mass:
        return weights_of(records, [1.0] * len(records))
    return weights_of(records, [math.exp(prompts.log_mass[number]) for number in index])


def weights_of(records: Sequence[Record], masses: Sequence[float]) -> list[float]:
    """How much each prompt counts when an edit learns from them; they sum to 1.

    Balanced over vocabularies and templates; a prompt at which the model hardly writes a gender at
    all says little, and counts in proportion to its gender mass below `SEEN`.
    """
    balanced = balanced_weights(records)
    seen = [w * min(1.0, mass / SEEN) for w, mass in zip(balanced, masses, strict=True)]
    total = sum(seen) or 1.0
    return [weight / total for weight in seen]


def gather_prompts(
    loaded: LoadedModel, config: LocateConfig, split: str, limit: int, version: int = VERSION
) -> Prompts:
    """A balanced sample of a split of the full configuration (or of the user's prompts).

    `version` is that of the dataset.
    """
    most = limit if config.limit is None else min(limit, config.limit)
    found = load_prompts(
        config_name("full", version),
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
    batches = list(prompts.batches(range(len(prompts))))
    for batch in tracked(batches, "what the original says"):
        terms = bias_terms(batch, run(loaded, batch))
        shares[batch.index] = terms.share.float().cpu()
        masses[batch.index] = terms.log_mass.float().cpu()
    prompts.share, prompts.log_mass = shares.tolist(), masses.tolist()


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
