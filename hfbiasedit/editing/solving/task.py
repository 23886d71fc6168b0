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
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.material.prompts import SEEN, Prompts
from hfbiasedit.editing.material.windows import Windows
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.solving.divergence import divergence_on, mean_divergence
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


@dataclass(frozen=True)
class Judged:
    """Mean distance on dev times 100; the original's gender mass there, summed, and its log change.

    `change` is a sum too, in which prompts count by that mass.
    """

    fb: float
    mass: float
    change: float


@dataclass
class Score:
    """Mean distance on dev times 100, and divergence at watched places."""

    fb: float
    kl: Tensor
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


def prepared(task: Task, batches: Iterable[PromptBatch]) -> list[PromptBatch]:
    """Batches with the hidden states that enter the trunk's first block."""
    todo = tracked(list(batches), "preparing prompts")
    return [with_hidden(task.loaded, batch, task.trunk) for batch in todo]


@torch.no_grad()
def judged(task: Task, dev: Sequence[PromptBatch]) -> Judged:
    """What dev says of the model as it is now.

    The distance is no FB-Score: prompts weigh the same whatever their profession, and those at
    which the original hardly writes a gender less (`SEEN`), as they do not tell a good edit from a
    bad one.
    """
    total, heavy, change, masses = 0.0, 0.0, 0.0, 0.0
    for batch in tracked(dev, "judging"):
        terms = bias_terms(batch, run(task.loaded, batch, task.trunk))
        distance = (terms.share.cpu() - batch.target).abs()
        mass = batch.log_mass.exp()
        weights = (mass / SEEN).clamp_max(1.0)
        total += float((weights * distance).sum())
        heavy += float(weights.sum())
        change += float((mass * terms.mass_change.float().cpu()).sum())
        masses += float(mass.sum())
    return Judged(100 * total / max(heavy, 1e-12), masses, change)


def scored(
    task: Task,
    dev: Sequence[PromptBatch],
    limits: Sequence[float] = (),
    known: Judged | None = None,
) -> Score:
    """Distance on dev and divergence on the watched windows, of the model as it is now.

    With `limits` the divergence is measured as exactly as it takes to tell what is within them;
    `known` is what dev says, if it has been asked.
    """
    known = known or judged(task, dev)
    return Score(known.fb, watched_divergence(task, limits), task.noise)


def watched_divergence(task: Task, limits: Sequence[float] = ()) -> Tensor:
    """KL(original || now) on the watched windows; for `limits` see `divergence_on`."""
    return divergence_on(task.watch, task.loaded, task.trunk, limits, task.noise)


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
        score = scored(task, dev, (limit,))
        deltas.write()
    return scale, score if score.mean_kl <= limit else None


def kept_within(task: Task, deltas: Deltas, outcome: Outcome) -> None:
    """Draw a best state back that costs more than is allowed; the deltas are at it, and stay so.

    On some of the watched windows it may have cost less.
    """
    limit = task.config.allowed_kl
    dev = prepared(task, task.prompts.batches(task.dev))
    scale, score = within(task, deltas, dev, scored(task, dev), limit)
    if score is None or score.fb >= outcome.dev_before:
        outcome.state, outcome.dev_after = None, outcome.dev_before
        outcome.stopped = "nothing better costs as little as is allowed"
    else:
        outcome.state, outcome.dev_after = deltas.state(scale), score.fb
    settle(deltas, outcome)
    outcome.kl = watched_divergence(task)


def settle(deltas: Deltas, outcome: Outcome) -> None:
    """Put the deltas at the best state, or at zero where nothing helped."""
    if outcome.state is None:
        deltas.set_({name: torch.zeros_like(value) for name, value in deltas.values.items()})
    else:
        deltas.set_(outcome.state)
