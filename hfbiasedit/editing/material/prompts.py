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
from hfbiasedit.editing.material.trees import bears_trees, pack_tree
from hfbiasedit.editing.running.activations import tokens_at_once
from hfbiasedit.editing.running.room import halved
from hfbiasedit.models.placement import parse_device
from hfbiasedit.scoring.continuations import EncodedPrompt, encode
from hfbiasedit.scoring.grouping import Budget, by_tokens, trees

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_PIECE = 16  # prompts of one pass
SEEN = 0.05  # gender mass from which on a prompt counts fully
_ROWS, _SHORTEST = 128, 8  # prompts of a tree, or more: as many of so few tokens


@dataclass
class Prompts:
    """Records and their encodings; `share` and `log_mass`: the original model's, once measured.

    `tokens`: of one pass, at most. `trees`: the model bears prompts in one row of tokens.
    """

    records: tuple[Record, ...]
    encoded: list[EncodedPrompt]
    share: list[float] = field(default_factory=list)
    log_mass: list[float] = field(default_factory=list)
    trees: bool = False
    tokens: int = 512

    def __len__(self) -> int:
        return len(self.records)

    def joined(self, other: Prompts) -> Prompts:
        """These and behind them others; both have been measured, or neither."""
        return Prompts(
            self.records + other.records,
            self.encoded + other.encoded,
            self.share + other.share,
            self.log_mass + other.log_mass,
            self.trees and (other.trees or not other),
            self.tokens,
        )

    def batch(self, index: Sequence[int], weight: Sequence[float] | None = None) -> PromptBatch:
        """Some prompts as tensors, with the original's gender mass where it is known."""
        return self._measured(pack(self.encoded, self.records, index, weight))

    def _measured(self, made: PromptBatch) -> PromptBatch:
        if self.log_mass:
            known = [self.log_mass[item] for item in made.index.tolist()]
            return replace(made, log_mass=torch.tensor(known))
        return made

    def batches(self, index: Sequence[int], size: int = _PIECE) -> list[PromptBatch]:
        """All of them in trees or batches of similar length; every prompt weighs 1 / len(index)."""
        weight = 1 / max(1, len(index))
        if self.trees:
            order = by_tokens(self.encoded, index)
            rows = rows_at_once(self.tokens)
            budget = Budget(tokens=halved(self.tokens), rows=halved(rows))
            return [
                self._measured(pack_tree(self.encoded, self.records, chunk, [weight] * len(chunk)))
                for chunk in trees(self.encoded, order, budget)
            ]
        return [
            self.batch(chunk, [weight] * len(chunk))
            for chunk in by_length(self.encoded, index, halved(size), halved(self.tokens))
        ]


def rows_at_once(tokens: int) -> int:
    """The most prompts of a tree of so many tokens."""
    return max(_ROWS, tokens // _SHORTEST)


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
    encoded = encode(loaded.tokenizer, found.records)
    # Activations that are computed again would be computed without the tree.
    packed = not config.checkpoint and bears_trees(loaded, encoded, found.records)
    device = parse_device(config.device) if loaded.device.type == "meta" else loaded.device
    tokens = tokens_at_once(loaded.model, device, config.checkpoint)
    return Prompts(found.records, encoded, trees=packed, tokens=tokens)


@torch.no_grad()
def measure_original(
    loaded: LoadedModel, prompts: Prompts, numbers: Sequence[int] | None = None
) -> None:
    """Fill in the original model's shares and gender masses (of some: others are not a number)."""
    shares, masses = torch.full((2, len(prompts)), math.nan)
    batches = list(prompts.batches(range(len(prompts)) if numbers is None else numbers))
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
