"""The default solver under its name: Gauss-Newton steps, and how much of a selection is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.running.recording import is_recordable
from hfbiasedit.editing.solving.curve import budget_curve
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.task import Outcome, Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice


class GaussNewton:
    """The solver of this module: it edits the weights of plain projections."""

    def __init__(self) -> None:
        self._first: Linear | None = None  # of the selection that was found to be enough

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """Whether all of them are."""
        if is_recordable(task.loaded.model, slices):
            return None
        return (
            "the selection holds other than weights of plain projections for --solver newton; "
            "use adam"
        )

    def enough(
        self, task: Task, deltas: Deltas, ladder: Sequence[Selection]
    ) -> tuple[Selection, list[BudgetPoint]]:
        """See `curve`."""
        selection, points, first = budget_curve(task, deltas, ladder)
        # Leading directions are those of the widest selection; the chosen one has others.
        self._first = first if first.rows.shape[1] == selection.weights else None
        return selection, points

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """A few steps, each from one pass over the prompts."""
        return solve(task, deltas, self._first)
