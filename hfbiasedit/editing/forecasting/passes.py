"""The passes of an edit over prompts and windows, counted from the constants that make them.

Prompts and windows are encoded and cut into batches as in the edit itself; only the model does not
run. Where an edit may stop early (rounds, budgets) the most is counted, prices, looks at what a
move does and windows of general code as many as is usual, and the lowest block is taken to be the
first that may be edited. States that are drawn back are not counted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hfbiasedit.codegenbias.configs import parse_config
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.forecasting.counts import Selected
from hfbiasedit.editing.judging import outcome
from hfbiasedit.editing.locating import solutions
from hfbiasedit.editing.material import gathering
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.dual import folds_of
from hfbiasedit.editing.material.price import PRICED
from hfbiasedit.editing.material.prompts import Prompts, gather_prompts
from hfbiasedit.editing.material.windows import Windows, prepare_windows, split_windows
from hfbiasedit.editing.solving import bench, directions, gauss_newton
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.scoring.continuations import EncodedPrompt, encode
from hfbiasedit.scoring.engine import tokens_of
from hfbiasedit.texts.anchor import load_anchor

# As edits of published models did: prices that all rounds try together (8 to 11), looks at each of
# their moves (1.4 to 2), and the part of the watched windows that is measured (0.5 to 0.9).
TRIES, LOOKS, PART = 10, 1.7, 0.7


@dataclass(frozen=True)
class Size:
    """What goes through a model: prompts or windows, tokens with padding, places of logits."""

    sequences: int
    tokens: int
    places: int

    def __add__(self, other: Size) -> Size:
        return Size(
            self.sequences + other.sequences,
            self.tokens + other.tokens,
            self.places + other.places,
        )


@dataclass(frozen=True)
class Pass:
    """Some forward passes, with or without a backward one.

    Attributes:
        stage: when. what: over what. size: of one of them. times: how many there are.
        backward: whether gradients run back.
        beside: what is made of inputs and gradients: `nothing`, `sketch`, `sums`, `rows`, `move`.
    """

    stage: str
    what: str
    size: Size
    times: int = 1
    backward: bool = False
    beside: str = "nothing"


@dataclass(frozen=True)
class Sizes:
    """All that an edit runs over; see `gathering.Material`."""

    audited: Size
    rounded: Size
    prompts: Size
    train: Size
    held: Size
    asked: Size
    further: Size  # of all rounds but the first, and what is held of each
    further_held: Size  # of those what the original has to have been asked
    dev: Size
    folds: Size
    windows: Size
    priced: Size
    watched: Size


def sizes_of(loaded: LoadedModel, config: EditConfig) -> Sizes:
    """Encode everything and measure it.

    Raises:
        BiasEditError: there are no prompts, or the anchor cannot be read.
    """
    _, version = parse_config(config.audit)
    train, more = gathering.dealt(
        gather_prompts(
            loaded, config, "edit", gathering.EDIT_PROMPTS + gathering.MORE_PROMPTS, version
        ),
        gathering.EDIT_PROMPTS,
        config.seed,
    )
    dev = gather_prompts(loaded, config, "dev", gathering.DEV_PROMPTS, version)
    everything = train.joined(dev)
    anchor = load_anchor(config.anchor)
    windows = prepare_windows(loaded, anchor, gathering.ANCHOR_WINDOWS, config.seed)
    _, watch = split_windows(windows)
    numbers = range(len(train))
    fresh = gathering.pieces(more, config.seed)[: gauss_newton.ROUNDS - 1]
    lessons = [_lesson(part) for part in (train, *fresh)]
    further = [lessons[n % len(lessons)] for n in range(1, gauss_newton.ROUNDS)]
    known = [_prompts(part.batches(bench.held_of(range(len(part))))) for part in fresh]
    return Sizes(
        audited=_audited(loaded, config),
        rounded=_scored(loaded, outcome.questions(config).audit.records),
        prompts=_prompts(everything.batches(range(len(everything)))),
        train=_prompts(train.batches(numbers)),
        held=_prompts(train.batches(bench.held_of(numbers))),
        asked=_prompts(train.batches(directions.asked_of(numbers))),
        further=sum(further, Size(0, 0, 0)),
        further_held=sum(known, Size(0, 0, 0)),
        dev=_prompts(dev.batches(range(len(dev)))),
        folds=_folds(train, config.seed),
        windows=_windows(windows),
        priced=_windows(prepare_windows(loaded, anchor, PRICED, config.seed)),
        watched=_windows(watch),
    )


def passes_of(sizes: Sizes, config: EditConfig, ladder: Sequence[Selected]) -> list[Pass]:
    """Every pass of an edit, in order."""
    judged = sizes.dev + sizes.watched
    found = [
        Pass("audits", "prompts", sizes.audited, times=2),
        Pass("original", "prompts", sizes.prompts),
        Pass("locating", "windows", sizes.priced, backward=True),
        Pass("locating", "prompts", sizes.folds, backward=True, beside="sketch"),
        Pass("locating", "prompts", sizes.folds, backward=True, beside="sums"),
    ]
    if config.granularity == "neuron":
        # Nested budgets look in the same rows, but each looks for itself.
        times = len(ladder)
        found.append(Pass("locating", "prompts", sizes.folds, times, backward=True, beside="move"))
    found.append(Pass("original", "windows", sizes.watched, times=2))  # once more for its noise
    linear = sizes.train + sizes.held
    found += _narrowing(sizes, ladder[0])
    found.append(Pass("linear model", "prompts", linear, backward=True, beside="rows"))
    found.append(Pass("original", "dev prompts and windows", judged))
    if len(ladder) > 1:
        tried = len(ladder) + 1  # one price for each, and another one where it was not allowed
        found.append(Pass("budgets", "dev prompts", sizes.dev, times=tried))
        found.append(Pass("budgets", "windows", sizes.watched, times=_part(tried)))
    looks = round(LOOKS * TRIES)
    found += [
        Pass("original", "prompts", sizes.further_held),
        Pass("rounds", "prompts", sizes.further, backward=True, beside="rows"),
        Pass("rounds", "dev prompts", sizes.dev, times=looks),
        Pass("rounds", "prompts", sizes.held, times=looks),
        Pass("rounds", "windows", sizes.watched, times=_part(TRIES)),
        Pass("rounds", "windows", sizes.watched),
    ]
    if config.check_quantized:
        times = 2 * len(config.check_quantized)
        found.append(Pass("audits of quantised models", "prompts", sizes.rounded, times))
    return found


def _part(times: int) -> int:
    """How many measurements on all windows so many that may end early take."""
    return max(1, round(PART * times))


def _narrowing(sizes: Sizes, widest: Selected) -> list[Pass]:
    if not widest.cut:
        return []
    return [Pass("leading directions", "prompts", sizes.asked, backward=True)]


def _lesson(prompts: Prompts) -> Size:
    """What a round differentiates: all prompts, and what is held of them once more."""
    numbers = range(len(prompts))
    return _prompts(prompts.batches(numbers) + prompts.batches(bench.held_of(numbers)))


def _prompts(batches: Sequence[PromptBatch]) -> Size:
    return Size(
        sum(len(batch) for batch in batches),
        sum(batch.input_ids.numel() for batch in batches),
        sum(len(batch.position) for batch in batches),
    )


def _windows(windows: Windows) -> Size:
    return Size(len(windows), windows.input_ids.numel(), len(windows.position))


def _folds(prompts: Prompts, seed: int) -> Size:
    """The prompts that are located with, as `joint_solutions` draws and cuts them."""
    count = min(solutions.PROMPTS, len(prompts))
    chosen = sorted(random.Random(seed).sample(range(len(prompts)), count))
    kinds = folds_of(
        [prompts.records[number].template for number in chosen], solutions.FOLDS
    ).tolist()
    folds = [[n for n, k in zip(chosen, kinds, strict=True) if k == kind] for kind in set(kinds)]
    return _prompts([batch for own in folds for batch in prompts.batches(own)])


def _audited(loaded: LoadedModel, config: EditConfig) -> Size:
    """What one measurement of the outcome computes, shared prefixes once."""
    asked = outcome.questions(config)
    parts = [asked.audit] if asked.beside is None else [asked.audit, asked.beside]
    sizes = [_scored(loaded, part.records) for part in parts]
    return sum(sizes[1:], sizes[0])


def _scored(loaded: LoadedModel, records: Sequence[Record]) -> Size:
    encoded: list[EncodedPrompt] = encode(loaded.tokenizer, records)
    places = sum(len({tail[:n] for tail in e.tails for n in range(len(tail))}) for e in encoded)
    return Size(len(encoded), tokens_of(encoded, loaded.device), places)
