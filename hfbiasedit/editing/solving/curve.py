"""How much of a selection is needed: nested budgets, each solved in the same linear model.

One pass over the prompts differentiates the widest selection; the best move within any part of it
follows from the inner products of that part's coordinates. What every budget does to prompts left
out is foretold, and dev is measured, within the allowed divergence; the smallest budget is enough
that brings each of the two down as far as the best does, all but `SLACK`. Where the allowed
divergence is what holds the widest one back, further rounds gain more the more weights share the
work: there the widest is taken. (On the demo model rows of 0.3 % do as well as 1 % in one round,
and come down by 53 instead of 61 % in four.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.edit_document import BudgetPoint
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.solving.bench import Bench, Prepared, bench_of
from hfbiasedit.editing.solving.candidates import State, best_of, candidates
from hfbiasedit.editing.solving.coordinates import own_slices
from hfbiasedit.editing.solving.linearisation import Linear
from hfbiasedit.editing.solving.states import Reached
from hfbiasedit.editing.solving.task import Score, Task, within
from hfbiasedit.editing.weights.deltas import Deltas
from hfbiasedit.editing.weights.selection import Selection

TRIES = 2  # prices of a budget
# Of the best reduction. Of the best score it was until rows of SmolLM2 with seed 1, where 0.07 % of
# the weights give away a tenth of what prompts left out and dev gain by 0.3 %.
SLACK = 0.05
_NAME = "budgets"


def budget_curve(
    task: Task, deltas: Deltas, ladder: Sequence[Selection]
) -> tuple[Selection, list[BudgetPoint], Prepared | None]:
    """The smallest of nested selections that is enough, what each reaches, what was made of it.

    Nothing is made where a resumed solver has done all it had to.

    Args:
        deltas: of the widest selection, which is the first of `ladder`.
    """
    model, limit = task.loaded.model, task.config.allowed_kl
    known, reached = task.kept.load(_NAME), Reached.load(task.kept)
    if known is not None and reached is not None and reached.done:
        return ladder[known[1]["number"]], known[1]["points"], None
    points: list[BudgetPoint] = []
    with (
        checkpointing(model, task.config.checkpoint),
        progress("trying budgets", len(ladder)) as bar,
    ):
        bench = bench_of(task, deltas)
        if known is not None and reached is not None:
            return _chosen(bench, ladder, known[1], None)
        linear = bench.linear()
        if not linear.finite:  # the solver says so
            return ladder[0], [], Prepared(bench.coordinates, linear)
        if known is not None:
            return _chosen(bench, ladder, known[1], linear)
        masks = [coordinates_of(bench, selection) for selection in ladder]
        bound, dev = False, task.before(bench.dev).fb
        grams = []
        for selection, columns in zip(ladder, masks, strict=True):
            grams.append(linear.gram(columns))
            choice, trials = candidates(bench, linear, columns, TRIES, gram=grams[-1])
            found = list(trials)
            bound |= selection is ladder[0] and found[0].score.mean_kl > limit
            score = _drawn_back(bench, best_of(found, limit))
            points.append(
                BudgetPoint(
                    weights=selection.weights,
                    items=selection.items,
                    left_out_fb=choice.after,
                    dev_fb=score.fb,
                    kl=score.mean_kl,
                    chosen=False,
                )
            )
            bar.advance()
    bench.write(torch.zeros(bench.coordinates.total))
    number = 0
    if not bound or points[0]["kl"] > limit:
        number = _enough(points, limit, (dev, choice.before))
    points[number]["chosen"] = True
    facts = {"number": number, "points": points}
    task.kept.save(_NAME, {}, facts)
    return _chosen(bench, ladder, facts, linear, grams[number])


def _chosen(
    bench: Bench,
    ladder: Sequence[Selection],
    facts: Mapping[str, Any],
    linear: Linear | None,
    gram: Tensor | None = None,
) -> tuple[Selection, list[BudgetPoint], Prepared]:
    """What was found, with the part of the widest selection's coordinates that belongs to it.

    Inner products of another part were added up in other blocks than a resumed edit would.
    """
    task, selection = bench.task, ladder[facts["number"]]
    own = bench.coordinates.part(task.loaded.model, selection.slices, task.prices)
    part = None if linear is None else linear.columns(coordinates_of(bench, selection))
    return selection, facts["points"], Prepared(own, part, gram if part is linear else None)


def _enough(points: Sequence[BudgetPoint], limit: float, before: tuple[float, float]) -> int:
    """The last point (they become smaller) that is allowed and close to the best by both scores.

    `before` are the scores of the original, on dev and on prompts left out.
    """
    allowed = [n for n, point in enumerate(points) if point["kl"] <= limit]

    def close(score: Callable[[BudgetPoint], float], start: float) -> set[int]:
        best = min((score(points[n]) for n in allowed), default=0.0)
        most = best + SLACK * max(0.0, start - best)
        return {n for n in allowed if score(points[n]) <= most}

    dev, left_out = before
    both = close(lambda p: p["dev_fb"], dev) & close(lambda p: p["left_out_fb"], left_out)
    # Where none is close by both, prompts left out are the ones that speak for more templates.
    return max(both, default=min(allowed, key=lambda n: points[n]["left_out_fb"], default=0))


def _drawn_back(bench: Bench, best: State) -> Score:
    """The score of a state; of one that costs more than is allowed, drawn back until it does not.

    An edit is drawn back likewise: a budget that misses the limit by a percent must not be lost.
    """
    limit = bench.task.config.allowed_kl
    if best.score.mean_kl <= limit:
        return best.score
    bench.write(best.move)
    return within(bench.task, bench.deltas, bench.dev, best.score, limit)[1] or best.score


def coordinates_of(bench: Bench, selection: Selection) -> Tensor:
    """A mask [D] of the coordinates that belong to a part of the bench's selection."""
    marks = []
    for name, whole in bench.deltas.slices.items():
        part = selection.slices.get(name)
        own = {} if part is None else dict(own_slices(part))
        for expert, piece in own_slices(whole):
            count = bench.coordinates.count((name, expert))
            kept = own.get(expert)
            if kept is None:
                marks.append(torch.zeros(count, dtype=torch.bool))
            elif kept.index is None or piece.index is None:
                marks.append(torch.ones(count, dtype=torch.bool))
            else:
                inside = torch.isin(piece.index, kept.index)
                marks.append(inside.repeat_interleave(count // len(piece.index)))
    return torch.cat(marks)
