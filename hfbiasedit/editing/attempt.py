"""One edit in memory: material, place, movement. `edit`, `sweep` and the benchmarks share it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.checkpoints.dtypes import bits_of
from hfbiasedit.console import warn
from hfbiasedit.documents.structures.edit_document import BudgetPoint, Divergence
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.locator import Location, locate_with
from hfbiasedit.editing.material.forward import remember_original
from hfbiasedit.editing.material.gathering import Material, train_part
from hfbiasedit.editing.material.windows import split_windows
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.running.room import in_room, remembered
from hfbiasedit.editing.selecting.ladder import ladder_of
from hfbiasedit.editing.solving.divergence import mean_divergence
from hfbiasedit.editing.solving.noise import arithmetic_noise
from hfbiasedit.editing.solving.solver import Frugal, Solver, require_fit, solver_of
from hfbiasedit.editing.solving.task import Outcome, Task, kept_within, watched_divergence
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import decoder_blocks, refuse_quantised
from hfbiasedit.models.stored import stored_dtypes

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel


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
    curve: list[BudgetPoint] = field(default_factory=list)
    noise: float = 0.0

    @property
    def helped(self) -> bool:
        """Whether a state was found that is better on dev within the allowed divergence."""
        return self.outcome.state is not None

    def changed(self) -> dict[str, np.ndarray]:
        """Which selected weights will have other stored bits: bool in the shape of the values."""
        return {
            name: bits_of(new) != bits_of(self.base[name].to(new))
            for name, new in self.values.items()
        }

    def kl_summary(self, budget: float) -> Divergence:
        """Mean and 99th percentile over the watched places, noise, and the allowed mean.

        The mean is what lies beyond the noise of arithmetic, the percentile is as measured.
        """
        return {
            "mean": mean_divergence(self.kl, self.noise),
            "noise": self.noise,
            "p99": max(float(torch.quantile(self.kl, 0.99)), 0.0),
            "budget": budget,
        }


def attempt(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    *,
    location: Location | None = None,
    selection: Selection | None = None,
    kept: Kept | None = None,
) -> Attempt:
    """Locate (unless told where), select and edit; the model is unchanged after.

    `kept` takes what is found on the way, and knows what an interrupted edit has found.

    Raises:
        BiasEditError: the model cannot be edited, or the options make no sense for it.
    """
    refuse_quantised(loaded.model)
    seed_everything(config.seed)
    solver, kept = solver_of(config.solver), kept or Kept()
    with remembered():
        with kept.timed("locate"):
            if selection is None:
                if location is None:
                    place = kept.inside("locating")
                    location = in_room(
                        partial(locate_with, loaded, train_part(material), config, place)
                    )
                selection, task, curve = _selected(loaded, config, material, location, solver, kept)
                # What is saved marks the blocks that the edit lies in, not those it might have.
                location = replace(location, blocks=selection.blocks(loaded.model))
            else:
                task, curve = _task(loaded, config, material, selection, kept), []
        with kept.timed("edit"):
            outcome, kl, values, base = in_room(partial(_solved, task, selection, solver))
    processes.wait()
    seconds = {part: kept.seconds(part) for part in ("locate", "edit")}
    return Attempt(selection, outcome, values, base, kl, location, seconds, curve, task.noise)


def _solved(
    task: Task, selection: Selection, solver: Solver
) -> tuple[Outcome, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """What the solver finds, its divergence, and new and old values of the selected weights."""
    with Deltas(task.loaded.model, selection, single_dtypes(task.loaded, selection)) as deltas:
        require_fit(solver, task, deltas.slices)
        outcome = solver.solve(task, deltas)
        kl = watched_divergence(task)
        if mean_divergence(kl, task.noise) > task.config.allowed_kl:
            kept_within(task, deltas, outcome)
            kl = outcome.kl
        values = {name: deltas.rounded(name).cpu() for name in selection.slices}
        return outcome, kl, values, deltas.base


def _task(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    selection: Selection,
    kept: Kept,
    location: Location | None = None,
) -> Task:
    trunk = in_room(partial(trunk_for, loaded, selection, material))
    keep, watch = split_windows(material.windows)
    task = Task(
        loaded,
        trunk,
        material.prompts,
        material.train,
        material.dev,
        keep,
        in_room(partial(remember_original, loaded, watch, trunk)),
        config,
        {} if location is None else location.prices or {},
        material.more,
        kept,
    )
    task.noise = in_room(partial(arithmetic_noise, task, selection.slices))
    return task


def _selected(
    loaded: LoadedModel,
    config: EditConfig,
    material: Material,
    location: Location,
    solver: Solver,
    kept: Kept,
) -> tuple[Selection, Task, list[BudgetPoint]]:
    """The budget's best by the ranking; with `auto` the smallest budget that is enough."""
    ladder = ladder_of(loaded, config, location)
    task = _task(loaded, config, material, ladder[0], kept, location)
    if len(ladder) == 1 or not isinstance(solver, Frugal):
        return ladder[0], task, []
    if solver.fits(task, ladder[0].slices) is not None:
        return ladder[0], task, []

    def tried() -> tuple[Selection, list[BudgetPoint]]:
        with Deltas(loaded.model, ladder[0], single_dtypes(loaded, ladder[0])) as deltas:
            return solver.enough(task, deltas, ladder)

    selection, curve = in_room(tried)
    if selection is not ladder[0]:  # less is computed after fewer weights
        task.noise = in_room(partial(arithmetic_noise, task, selection.slices))
    return selection, task, curve


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


def single_dtypes(loaded: LoadedModel, selection: Selection) -> dict[str, torch.dtype]:
    """The dtype on disk of every selected tensor; empty where there is no checkpoint to ask.

    A model may be loaded wider than it is stored; what is judged is what will be stored.

    Raises:
        BiasEditError: the experts of one tensor are stored in several dtypes.
    """
    found = {}
    for name, dtypes in stored_dtypes(loaded, selection.slices).items():
        if len(set(dtypes)) > 1:
            raise BiasEditError(
                f"{name} is stored in several dtypes; save the checkpoint in one with "
                "save_pretrained"
            )
        found[name] = dtypes[0]
    return found


def seed_everything(seed: int) -> None:
    """Seed the generators that a model's forward pass may draw from."""
    torch.manual_seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def applied(loaded: LoadedModel, found: Attempt) -> Iterator[None]:
    """Inside the block the model has the attempt's weights; the old ones come back, bit for bit."""
    parameters = dict(loaded.model.named_parameters())

    def put(values: Mapping[str, Tensor]) -> None:
        for name, part in found.selection.slices.items():
            part.put_(parameters[name].data, values[name].to(parameters[name].device))

    put(found.values)
    try:
        yield
    finally:
        put(found.base)
