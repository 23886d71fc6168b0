"""What a solver works on and what it finds: the task, the score of a state, the best state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from hfbiasedit.console import tracked
from hfbiasedit.documents.structures.edit_document import Step
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.forward import remember_original, run, with_hidden
from hfbiasedit.editing.material.objective import bias_terms, divergences
from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.material.prompts import SEEN, Prompts
from hfbiasedit.editing.material.windows import Windows, choose, windows_at_once
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.weights.deltas import Deltas

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel


@dataclass
class Task:
    """Everything the loop looks at; hidden states are those that enter the trunk's first block.

    `noise` is the divergence that arithmetic makes up (`noise`); limits are for what is beyond it.
    """

    loaded: LoadedModel
    trunk: Trunk | None
    prompts: Prompts
    train: list[int]
    dev: list[int]
    keep: Windows
    watch: Windows
    config: EditConfig
    prices: Mapping[str, Price] = field(default_factory=dict)  # of projections, as far as known
    more: Prompts = field(default_factory=lambda: Prompts((), []))  # of further rounds, unmeasured
    kept: Kept = field(default_factory=Kept)
    noise: float = 0.0
    _before: Score | None = None

    def remember(self) -> None:
        """Measure the original on `keep`, unless done; the model must be it now."""
        if self.keep.original is None:
            self.keep = remember_original(self.loaded, self.keep, self.trunk)

    def before(self, dev: Sequence[PromptBatch]) -> Score:
        """The score of the original, which the model must be when this is first asked."""
        if self._before is None:
            self._before = scored(self, dev)
        self._before.noise = self.noise
        return self._before


@dataclass
class Score:
    """Mean distance on dev times 100, divergence at every watched place, change of the mass."""

    fb: float
    kl: Tensor
    mass: float
    noise: float = 0.0

    @property
    def mean_kl(self) -> float:
        """Mean divergence beyond the noise of arithmetic, which the budget limits."""
        return mean_divergence(self.kl, self.noise)


@dataclass
class Outcome:
    """The best state, what it scores on dev, and how it came about."""

    state: dict[str, Tensor] | None
    dev_before: float
    dev_after: float
    kl: Tensor
    steps: int
    stopped: str
    history: list[Step] = field(default_factory=list)
    noise: float = 0.0

    @property
    def mean_kl(self) -> float:
        """Mean divergence of the best state, beyond the noise of arithmetic."""
        return mean_divergence(self.kl, self.noise)

    def note(self, step: Step) -> None:
        """Add a step to the history, unless a number is not finite: no document holds such."""
        if all(math.isfinite(value) for value in cast(Mapping[str, float], step).values()):
            self.history.append(step)


def mean_divergence(kl: Tensor, noise: float) -> float:
    """Mean of a divergence [N] beyond the noise; arithmetic may end a little below zero.

    What is not a number stays so: it is within no limit.
    """
    return max(float(kl.mean()) - noise, 0.0)


def prepared(task: Task, batches: Iterable[PromptBatch]) -> list[PromptBatch]:
    """Batches with the hidden states that enter the trunk's first block."""
    todo = tracked(list(batches), "preparing prompts")
    return [with_hidden(task.loaded, batch, task.trunk) for batch in todo]


@torch.no_grad()
def scored(task: Task, dev: Sequence[PromptBatch]) -> Score:
    """Distance on dev and divergence on the watched windows, of the model as it is now.

    It is no FB-Score: prompts weigh the same whatever their profession, and those at which the
    original hardly writes a gender less (`SEEN`), as they do not tell a good edit from a bad one.
    """
    total, heavy, mass = 0.0, 0.0, list[float]()
    for batch in tracked(dev, "judging"):
        terms = bias_terms(batch, run(task.loaded, batch, task.trunk))
        distance = (terms.share.cpu() - batch.target).abs()
        weights = (batch.log_mass.exp() / SEEN).clamp_max(1.0)
        mass += terms.mass_change.tolist()
        total += float((weights * distance).sum())
        heavy += float(weights.sum())
    change = math.exp(sum(mass) / len(mass)) if mass else 1.0
    fb = 100 * total / max(heavy, 1e-12)
    return Score(fb, watched_divergence(task), change, task.noise)


def within(
    task: Task, deltas: Deltas, dev: Sequence[PromptBatch], score: Score, limit: float
) -> tuple[float, Score | None]:
    """The state as it is, or drawn back towards the original until its divergence is allowed.

    The divergence grows with the square of the deltas, so that one guess is nearly always enough.
    """
    scale = 1.0
    for _ in range(2):
        if score.mean_kl <= limit:
            return scale, score
        scale *= math.sqrt(0.9 * limit / score.mean_kl)
        deltas.write(scale)
        score = scored(task, dev)
        deltas.write()
    return scale, score if score.mean_kl <= limit else None


def settle(deltas: Deltas, outcome: Outcome) -> None:
    """Put the deltas at the best state, or at zero where nothing helped."""
    if outcome.state is None:
        deltas.set_({name: torch.zeros_like(value) for name, value in deltas.values.items()})
    else:
        deltas.set_(outcome.state)


@torch.no_grad()
def watched_divergence(task: Task) -> Tensor:
    """KL(original || now) at every place of the watched windows, float64 on the CPU."""
    found = []
    size = windows_at_once(task.loaded.model, task.loaded.device)
    for start in tracked(range(0, len(task.watch), size), "measuring the divergence"):
        piece = choose(task.watch, range(start, min(start + size, len(task.watch))))
        if piece.original is not None:
            logits = run(task.loaded, piece, task.trunk)
            found.append(divergences(piece.original, logits).cpu().double())
    return torch.cat(found)
