"""Gauss-Newton where what passes through the weights can be recorded, Adam elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.solving.adam import Adam
from hfbiasedit.editing.solving.newton import GaussNewton
from hfbiasedit.editing.solving.task import Outcome, Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection
from hfbiasedit.editing.weights.slices import Slice


class Automatic(GaussNewton):
    """`GaussNewton` that leaves to `Adam` what it cannot do."""

    def fits(self, task: Task, slices: Mapping[str, Slice]) -> str | None:
        """None: one of the two can always."""
        return None

    def enough(
        self, task: Task, deltas: Deltas, ladder: Sequence[Selection]
    ) -> tuple[Selection, list[BudgetPoint]]:
        """Adam does not tell: the widest."""
        if super().fits(task, deltas.slices) is None:
            return super().enough(task, deltas, ladder)
        return ladder[0], []

    def solve(self, task: Task, deltas: Deltas) -> Outcome:
        """Solve with the first that can."""
        if super().fits(task, deltas.slices) is None:
            return super().solve(task, deltas)
        return Adam().solve(task, deltas)
