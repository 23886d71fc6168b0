"""One edit in memory: material, place, movement. `edit`, `sweep` and the benchmarks share it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit.codegenbias.prompts import PromptSet
from hfbiasedit.console import warn
from hfbiasedit.documents.structures.edit_document import Divergence
from hfbiasedit.editing import processes
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.locating.locator import Location, locate_with
from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.prompts import Prompts, gather_prompts, measure_original
from hfbiasedit.editing.material.windows import Windows, prepare_windows, split_windows
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.selecting.allowance import budget_of
from hfbiasedit.editing.selecting.choosing import select
from hfbiasedit.editing.selecting.items import items_of
from hfbiasedit.editing.solving.solver import Pruner, Solver, require_fit, solver_of
from hfbiasedit.editing.solving.task import Outcome, Task, watched_divergence
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.levels import LEVELS
from hfbiasedit.models.architecture import decoder_blocks, refuse_quantised
from hfbiasedit.texts.anchor import Anchor, load_anchor

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

EDIT_PROMPTS = 3072
DEV_PROMPTS = 144
ANCHOR_WINDOWS = 768


@dataclass
class Material:
    """Prompts of the edit and dev splits and windows of general code, for one protocol."""

    prompts: Prompts
    train: list[int]
    dev: list[int]
    anchor: Anchor
    windows: Windows

    @property
    def digest(self) -> str:
        """Digest of the prompts in order."""
        return PromptSet(self.prompts.records, "full", "edit+dev", "").digest


@dataclass
class Attempt:
    """What an edit came to: new and old values of the selected weights, and the way there."""

    selection: Selection
    outcome: Outcome
    values: Mapping[str, Tensor] = field(repr=False)
    base: Mapping[str, Tensor] = field(repr=False)
    kl: Tensor = field(repr=False)
    location: Location | None = field(repr=False)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def helped(self) -> bool:
        """Whether a state was found that is better on dev within the allowed divergence."""
        return self.outcome.state is not None

    def kl_summary(self, budget: float) -> Divergence:
        """Mean and 99th percentile over the watched places, and the allowed mean."""
        return {
            "mean": float(self.kl.mean()),
            "p99": float(torch.quantile(self.kl, 0.99)),
            "budget": budget,
        }


def gather(loaded: LoadedModel, config: EditConfig) -> Material:
    """Load and measure what an edit works on.

    Raises:
        BiasEditError: there are no prompts in the edit split, or the anchor cannot be read.
    """
    train = gather_prompts(loaded, config, "edit", EDIT_PROMPTS)
    dev = gather_prompts(loaded, config, "dev", DEV_PROMPTS)
    prompts = Prompts(train.records + dev.records, train.encoded + dev.encoded)
    measure_original(loaded, prompts)
    anchor = load_anchor(config.anchor)
    windows = prepare_windows(loaded, anchor, ANCHOR_WINDOWS, config.seed)
    numbers = list(range(len(prompts)))
    return Material(prompts, numbers[: len(train)], numbers[len(train) :], anchor, windows)


def attempt(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    *,
    location: Location | None = None,
    selection: Selection | None = None,
) -> Attempt:
    """Locate (unless told where), select and edit; the model is unchanged after.

    Raises:
        BiasEditError: the model cannot be edited, or the options make no sense for it.
    """
    refuse_quantised(loaded.model)
    seed_everything(config.seed)
    solver = solver_of(config.solver)
    start = time.perf_counter()
    if selection is None:
        location = location or locate_with(loaded, train_part(material), config)
        selection, task = _selected(loaded, config, material, location, solver)
    else:
        task = _task(loaded, config, material, selection)
    located = time.perf_counter()
    with Deltas(loaded.model, selection, stored_dtypes(loaded, selection)) as deltas:
        require_fit(solver, task, deltas.slices)
        outcome = solver.solve(task, deltas)
        kl = watched_divergence(task)
        values = {name: deltas.rounded(name).cpu() for name in selection.slices}
    processes.wait()
    seconds = {"locate": located - start, "edit": time.perf_counter() - located}
    return Attempt(selection, outcome, values, deltas.base, kl, location, seconds)


def _task(
    loaded: LoadedModel, config: EditConfig, material: Material, selection: Selection
) -> Task:
    trunk = trunk_for(loaded, selection, material)
    keep, watch = split_windows(remember_original(loaded, material.windows, trunk))
    return Task(loaded, trunk, material.prompts, material.train, material.dev, keep, watch, config)


def _selected(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    location: Location,
    solver: Solver,
) -> tuple[Selection, Task]:
    """The budget's best by the ranking, or pruned from a wider pool if the solver can do that."""
    level = config.granularity
    choose = partial(
        select,
        loaded.model,
        location.ranking,
        level,
        include=config.include,
        entry_scores=location.entry_scores,
    )
    budget = budget_of(loaded.model, location.ranking, level, config.chosen_budget)
    for times in _pools(config, location, solver):
        assert isinstance(solver, Pruner)
        # Pruning sees for itself which blocks help, which saliency alone does not.
        anywhere = None if config.blocks == "auto" else location.blocks
        pool = choose(budget.times(times), blocks=anywhere)
        if not solver.fits_pool(loaded, pool.slices, len(material.train)):
            continue
        task = _task(loaded, config, material, pool)
        with Deltas(loaded.model, pool, stored_dtypes(loaded, pool)) as deltas:
            selection = solver.prune(task, deltas, pool, items_of(pool, location.ranking), budget)
        # The pool's task will do, unless more blocks can be skipped now.
        if task.trunk is not None and selection.lowest_block(loaded.model) > task.trunk.first:
            task = _task(loaded, config, material, selection)
        return selection, task
    selection = choose(budget, blocks=None if LEVELS[level].everything else location.blocks)
    return selection, _task(loaded, config, material, selection)


def _pools(config: EditConfig, location: Location, solver: Solver) -> tuple[float, ...]:
    """How wide the selections to prune are, in times the budget; none where that is not wanted."""
    level = LEVELS[config.granularity]
    if not isinstance(solver, Pruner) or config.include:
        return ()
    if level.everything or location.ranking.drawn:
        return ()
    return (math.inf,) if level.few else solver.pools


def train_part(material: Material) -> Prompts:
    """The prompts of the edit split alone: nothing else may say where to edit."""
    prompts, chosen = material.prompts, material.train

    def part(values: Sequence[Any]) -> list[Any]:
        return [values[number] for number in chosen]

    records = tuple(part(prompts.records))
    return Prompts(records, part(prompts.encoded), part(prompts.share), part(prompts.log_mass))


def trunk_for(loaded: LoadedModel, selection: Selection, material: Material) -> Trunk | None:
    """Skips the blocks below the lowest edited one, where the model allows it."""
    lowest = selection.lowest_block(loaded.model)
    blocks = len(decoder_blocks(loaded.model))
    if lowest < 0 or not blocks:
        return None
    trunk = Trunk(loaded.model, min(lowest, blocks - 1))
    ids = material.prompts.batch(material.train[:2]).input_ids.to(loaded.device)
    if trunk.is_faithful(ids):
        return trunk
    warn("this model's blocks share more than hidden states; every step runs all of them")
    return None


def stored_dtypes(loaded: LoadedModel, selection: Selection) -> dict[str, torch.dtype]:
    """The dtype on disk of every selected tensor; empty where there is no checkpoint to ask.

    A model may be loaded wider than it is stored; what is judged is what will be stored.
    """
    from hfbiasedit.checkpoints.dtypes import torch_dtype
    from hfbiasedit.checkpoints.storage import INDEX, SINGLE, Checkpoint
    from hfbiasedit.models.naming import Naming

    folder = loaded.source.path
    if not any((folder / name).exists() for name in (INDEX, SINGLE)):
        return {}
    checkpoint = Checkpoint.open(folder)
    naming = Naming(loaded.model, frozenset(checkpoint.names))
    found = {}
    for name in selection.slices:
        stored = checkpoint.tensors.get(naming.to_disk(name)[0].name)
        if stored is not None:
            found[name] = torch_dtype(stored.info.dtype)
    return found


def seed_everything(seed: int) -> None:
    """Seed the generators that a model's forward pass may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
