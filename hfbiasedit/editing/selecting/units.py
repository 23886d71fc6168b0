"""Hidden units of MLPs: their rows on the up side and their column on the down side."""

from __future__ import annotations

import torch
from torch import Tensor

from hfbiasedit.editing.locating.ranking import Ranking
from hfbiasedit.editing.selecting.choice import Choice
from hfbiasedit.editing.selecting.density import densest
from hfbiasedit.editing.weights.selection import rows_in
from hfbiasedit.editing.weights.slices import Slice, row_slice
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import UnitGroup


class Units:
    """Hidden units of MLPs."""

    def count(self, ranking: Ranking) -> int:
        """The units of all MLPs.

        Raises:
            BiasEditError: the model has no MLPs.
        """
        count = sum(group.count for group in ranking.units())
        if not count:
            raise BiasEditError("the model has no MLPs with hidden units; use --granularity row")
        return count

    def choose(self, choice: Choice) -> tuple[list[Slice], int]:
        """Units by their score per weight.

        Raises:
            BiasEditError: the chosen blocks have none.
        """
        ranking = choice.ranking
        groups = [group for group in ranking.units() if group.block in choice.blocks]
        if not groups:
            raise BiasEditError("the chosen blocks have no MLPs; give other blocks")
        scores = torch.cat([ranking.unit_scores(group) for group in groups])
        costs = torch.cat([torch.full((group.count,), _unit_cost(group)) for group in groups])
        best = densest(scores / costs, costs, choice.limit)
        chosen, start = [], 0
        for group in groups:
            inside = best[(best >= start) & (best < start + group.count)] - start
            start += group.count
            if len(inside):
                chosen += unit_slices(group, inside.sort().values)
        return chosen, len(best)


def unit_slices(group: UnitGroup, units: Tensor) -> list[Slice]:
    """The weights of hidden units: their rows on the up side and their column on the down side."""
    down = group.down
    expert, unit = units // down.columns, units % down.columns
    rows: dict[str, list[Tensor]] = {}
    owners = {item.name: item for item, _ in group.up}
    for item, part in group.up:
        inner = item.rows // item.experts
        within = unit if part is None else torch.tensor(part.rows())[unit]
        rows.setdefault(item.name, []).append(expert * inner + within)
    chosen = [rows_in(owners[name], torch.cat(found)) for name, found in rows.items()]
    # Unit i of expert e is column e * columns + i, as slices of stacked matrices are numbered.
    return [*chosen, row_slice(down.name, down.shape, 1 - down.row_axis, units)]


def _unit_cost(group: UnitGroup) -> int:
    inner = group.down.rows // group.down.experts
    return inner + sum(item.columns for item, _ in group.up)
