"""What an edit works on: prompts of the edit and dev splits, and windows of general code."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hfbiasedit.codegenbias.configs import parse_config
from hfbiasedit.codegenbias.prompts import PromptSet
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material.prompts import Prompts, gather_prompts, measure_original
from hfbiasedit.editing.material.windows import Windows, prepare_windows
from hfbiasedit.editing.running.room import in_room
from hfbiasedit.texts.anchor import Anchor, load_anchor

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

EDIT_PROMPTS = 1024  # of one round; the first ones are located and chosen with too
MORE_PROMPTS = 5120  # of further rounds
DEV_PROMPTS = 160
ANCHOR_WINDOWS = 384


@dataclass
class Material:
    """Prompts of the edit and dev splits and windows of general code, for one protocol.

    `more` are further prompts of the edit split, on which the original has not been measured.
    """

    prompts: Prompts
    train: list[int]
    dev: list[int]
    anchor: Anchor
    windows: Windows
    more: Prompts = field(default_factory=lambda: Prompts((), []))

    @property
    def digest(self) -> str:
        """Digest of the prompts in order."""
        records = self.prompts.records + self.more.records
        return PromptSet(records, "full", "edit+dev", "").digest


def gather(loaded: LoadedModel, config: EditConfig, kept: Kept | None = None) -> Material:
    """Load and measure what an edit works on; `kept` takes what was measured.

    Raises:
        BiasEditError: there are no prompts in the edit split, or the anchor cannot be read.
    """
    # One learns from the version of the dataset that the outcome is measured on.
    _, version = parse_config(config.audit)
    train, more = dealt(
        gather_prompts(loaded, config, "edit", EDIT_PROMPTS + MORE_PROMPTS, version),
        EDIT_PROMPTS,
        config.seed,
    )
    dev = gather_prompts(loaded, config, "dev", DEV_PROMPTS, version)
    prompts = train.joined(dev)
    prompts.share, prompts.log_mass = (kept or Kept()).facts(
        "original", partial(_original, loaded, prompts)
    )
    anchor = load_anchor(config.anchor)
    windows = prepare_windows(loaded, anchor, ANCHOR_WINDOWS, config.seed)
    numbers = list(range(len(prompts)))
    return Material(prompts, numbers[: len(train)], numbers[len(train) :], anchor, windows, more)


def dealt(prompts: Prompts, count: int, seed: int) -> tuple[Prompts, Prompts]:
    """At most `count` of some unmeasured prompts, drawn by seed, and the others."""
    numbers = range(len(prompts))
    first = set(random.Random(seed).sample(numbers, min(count, len(prompts))))

    def part(chosen: list[int]) -> Prompts:
        records = tuple(prompts.records[number] for number in chosen)
        encoded = [prompts.encoded[number] for number in chosen]
        return replace(prompts, records=records, encoded=encoded)

    return part(sorted(first)), part([number for number in numbers if number not in first])


def pieces(prompts: Prompts, seed: int) -> list[Prompts]:
    """Unmeasured prompts dealt out to rounds."""
    found = []
    while prompts:
        some, prompts = dealt(prompts, EDIT_PROMPTS, seed)
        found.append(some)
    return found


def _original(loaded: LoadedModel, prompts: Prompts) -> list[list[float]]:
    in_room(partial(measure_original, loaded, prompts))
    return [list(prompts.share), list(prompts.log_mass)]


def train_part(material: Material) -> Prompts:
    """The prompts of the edit split alone: nothing else may say where to edit."""
    prompts, chosen = material.prompts, material.train

    def part(values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in chosen]

    records = tuple(part(prompts.records))
    return replace(
        prompts,
        records=records,
        encoded=part(prompts.encoded),
        share=part(prompts.share),
        log_mass=part(prompts.log_mass),
    )
