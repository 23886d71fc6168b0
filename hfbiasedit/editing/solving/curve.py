"""How much of a selection is needed: nested budgets, each solved in the same linear model.

One pass over the prompts differentiates the widest selection; the best move within any part of it
follows from the inner products of that part's coordinates. Every budget is measured at the allowed
divergence, and the smallest one whose dev score is within `SLACK` of the best one's is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.solving.gauss_newton import Bench, bench_of, best_of, candidates
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.task import Task
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection

TRIES = 2  # prices of a budget
SLACK = 0.05  # of the best dev score


def budget_curve(
    task: Task, deltas: Deltas, ladder: Sequence[Selection]
) -> tuple[Selection, list[BudgetPoint], Linear]:
    """The smallest of nested selections that is enough, what each reaches, its linear model.

    Args:
        deltas: of the widest selection, which is the first of `ladder`.
    """
    model, limit = task.loaded.model, task.config.allowed_kl
    points: list[BudgetPoint] = []
    with (
        checkpointing(model, task.config.checkpoint),
        progress("trying budgets", len(ladder)) as bar,
    ):
        bench = bench_of(task, deltas)
        linear = bench.linear(None)
        if not linear.finite:  # the solver says so
            return ladder[0], [], linear
        predicted = limit
        masks = [coordinates_of(bench, selection) for selection in ladder]
        for selection, columns in zip(ladder, masks, strict=True):
            found = list(candidates(bench, linear, predicted, columns, TRIES))
            best = best_of(found, limit)
            predicted = best.predicted
            kl = best.score.mean_kl
            points.append(
                BudgetPoint(
                    weights=selection.weights,
                    items=selection.items,
                    dev_fb=best.score.fb,
                    kl=kl,
                    chosen=False,
                )
            )
            bar.advance()
    bench.write(torch.zeros(bench.coordinates.total))
    allowed = [n for n, p in enumerate(points) if p["kl"] <= limit]
    goal = (1 + SLACK) * min((points[n]["dev_fb"] for n in allowed), default=0.0)
    number = max((n for n in allowed if points[n]["dev_fb"] <= goal), default=0)
    points[number]["chosen"] = True
    return ladder[number], points, linear.columns(masks[number])


def coordinates_of(bench: Bench, selection: Selection) -> Tensor:
    """A mask [D] of the coordinates that belong to a part of the bench's selection."""
    marks = []
    for name in bench.coordinates.names:
        count, whole = bench.coordinates.count(name), bench.deltas.slices[name]
        part = selection.slices.get(name)
        if part is None:
            marks.append(torch.zeros(count, dtype=torch.bool))
        elif part.index is None or whole.index is None:
            marks.append(torch.ones(count, dtype=torch.bool))
        else:
            inside = torch.isin(whole.index, part.index)
            marks.append(inside.repeat_interleave(count // len(whole.index)))
    return torch.cat(marks)
