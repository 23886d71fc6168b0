"""What a solver is: it moves selected weights so that the bias gets less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from hfbiasedit.editing.extensions import SOLVERS
from hfbiasedit.editing.selecting.budget import Budget
from hfbiasedit.editing.solving.task import Outcome, Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel


@runtime_checkable
class Solver(Protocol):
    """One edit's solver; every edit makes a new one, so that it may remember what it prepared."""

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """Why it cannot edit these weights, as a sentence for the user; None where it can."""
        ...

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """Move the deltas; they end at the outcome's state, or at zero where nothing helped.

        The outcome's state is the best on dev whose divergence, rounded to the stored dtype, is
        within `task.config.allowed_kl`.
        """
        ...


@runtime_checkable
class Pruner(Solver, Protocol):
    """A solver that tells which items of a wider selection it would use.

    Attributes:
        pools: how wide, in times the budget; the first that fits is taken.
    """

    pools: tuple[float, ...]

    def fits_pool(self, loaded: LoadedModel, slices: Mapping[str, Slice], prompts: int) -> bool:
        """Whether it can look at these weights with so many prompts; asked before any work."""
        ...

    def prune(
        self, task: Task, deltas: Deltas, pool: Selection, items: Sequence[Tensor], budget: Budget
    ) -> Selection:
        """The part of a pool within the budget that it makes most use of.

        `items` says per tensor which item of the level each slice (or weight) belongs to.
        """
        ...


def solver_of(name: str) -> Solver:
    """A new solver.

    Raises:
        UsageError: nobody registered the name. BiasEditError: what is registered is no solver.
    """
    found = SOLVERS.load(name)()
    if not isinstance(found, Solver):
        raise BiasEditError(f"the solver {name!r} has no methods fits and solve")
    return found


def require_fit(solver: Solver, task: Task, slices: Mapping[str, Slice]) -> None:
    """Raise `BiasEditError` with the solver's reason where it cannot edit these weights."""
    reason = solver.fits(task, slices)
    if reason is not None:
        raise BiasEditError(reason)
