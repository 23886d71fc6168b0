"""The default solver under its name: Gauss-Newton rounds, and how much of a selection is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.running.recording import obstacle
from hfbiasedit.editing.solving.bench import Prepared
from hfbiasedit.editing.solving.curve import budget_curve
from hfbiasedit.editing.solving.gauss_newton import solve
from hfbiasedit.editing.solving.task import Outcome, Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import WHOLE, Slice


class GaussNewton:
    """The solver of this module: it edits what can be recorded, whole stacks of experts apart."""

    def __init__(self) -> None:
        self._prepared: Prepared | None = None  # of the selection that was found to be enough

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """The first weight that it cannot edit."""
        stacks = (n for n, part in slices.items() if part.kind == WHOLE and len(part.shape) > 2)
        reason = obstacle(task.loaded.model, slices)
        if reason is None and (stack := next(stacks, None)) is not None:
            reason = f"{stack} is a whole stack of experts"
        return reason and f"{reason}, which --solver newton does not edit; use adam"

    def enough(
        self, task: Task, deltas: Deltas, ladder: Sequence[Selection]
    ) -> tuple[Selection, list[BudgetPoint]]:
        """See `curve`."""
        selection, points, self._prepared = budget_curve(task, deltas, ladder)
        return selection, points

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """A few rounds, each from one pass over some prompts."""
        return solve(task, deltas, self._taken())

    def _taken(self) -> Prepared | None:
        """What has been made, the linear model only once: it is large.

        The coordinates stay for another try, where memory ran out.
        """
        prepared = self._prepared
        if prepared is not None:
            self._prepared = replace(prepared, linear=None, gram=None)
        return prepared
