"""What a solver is: it moves selected weights so that the bias gets less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.extensions import SOLVERS
from hfbiasedit.editing.solving.task import Outcome, Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice
from hfbiasedit.errors import BiasEditError


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
class Frugal(Solver, Protocol):
    """A solver that tells how much of a selection is enough."""

    def enough(
        self, task: Task, deltas: Deltas, ladder: Sequence[Selection]
    ) -> tuple[Selection, list[BudgetPoint]]:
        """The smallest of nested selections that does about as well as the first, the widest.

        With it comes what each of them reaches. The deltas are of the widest, and end at zero.
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
