"""The ranking that `locate` makes: scores of rows and columns, added up to matrices and blocks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hfbiasedit.editing.locating.saliency import Sums, ratio
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import Projection, UnitGroup, hidden_units


@dataclass(frozen=True)
class Ranking:
    """Saliency of every row and column of every projection of a model.

    `scores[name]` holds sums over the weights of a row, the largest weight of a row, and sums over
    the weights of a column (`experts * columns` of them). The sum over a matrix is its score, the
    sum over a block's matrices the block's. `drawn`: scores are drawn by seed, and so is what has
    none of its own (by the seed in `origin`).
    """

    saliency: str
    projections: tuple[Projection, ...]
    scores: Mapping[str, Sums]
    origin: Mapping[str, Any] = field(default_factory=dict)
    drawn: bool = False

    @property
    def blocks(self) -> int:
        """The number of decoder blocks."""
        return 1 + max(item.block for item in self.projections)

    def matrices(self) -> list[tuple[Projection, float]]:
        """Matrices with their scores, highest first (in an order by seed for drawn scores)."""
        if self.drawn:
            rng = random.Random(int(self.origin.get("seed", 0)))
            return sorted(((item, rng.random()) for item in self.projections), key=lambda p: -p[1])
        rows = [(item, float(self.scores[item.name].rows.sum())) for item in self.projections]
        return sorted(rows, key=lambda pair: -pair[1])

    def block_scores(self) -> list[float]:
        """Scores of the blocks, in order of the blocks."""
        totals = [0.0] * self.blocks
        for item, score in self.matrices():
            totals[item.block] += score
        return totals

    def top_rows(self, count: int) -> list[tuple[Projection, int, float]]:
        """The highest rows (projection, row, score), highest first."""
        flat, owner = self.flat_rows()
        best = torch.argsort(flat, descending=True, stable=True)[:count].tolist()
        return [(*owner(position), float(flat[position])) for position in best]

    def flat_rows(self) -> tuple[Tensor, Any]:
        """Scores of all rows in one tensor, and a function from position to (projection, row)."""
        starts, total = [], 0
        for item in self.projections:
            starts.append(total)
            total += item.rows
        table = torch.tensor(starts)

        def owner(position: int) -> tuple[Projection, int]:
            number = int(torch.searchsorted(table, position, right=True)) - 1
            return self.projections[number], position - starts[number]

        return torch.cat([self.scores[item.name].rows for item in self.projections]), owner

    def unit_scores(self, group: UnitGroup) -> Tensor:
        """Scores of the hidden units of one MLP: their rows and their column together."""
        total = self.scores[group.down.name].columns.clone()
        for item, part in group.up:
            rows = self.scores[item.name].rows.view(item.experts, -1)
            chosen = rows if part is None else rows[:, torch.tensor(part.rows())]
            total += chosen.reshape(-1)
        return total

    def units(self) -> list[UnitGroup]:
        """The groups of hidden units of the model."""
        return hidden_units(list(self.projections))

    def map(self) -> tuple[list[str], Tensor]:
        """Names of the kinds of matrices and mean scores per weight [blocks, kinds] (NaN: none)."""
        roles = list(dict.fromkeys(item.role for item in self.projections))
        sums = torch.zeros(self.blocks, len(roles), dtype=torch.float64)
        counts = torch.zeros_like(sums)
        for item in self.projections:
            place = (item.block, roles.index(item.role))
            sums[place] += self.scores[item.name].rows.sum()
            counts[place] += item.weights
        return roles, torch.where(counts > 0, sums / counts.clamp_min(1), torch.nan)

    def save(self, path: Path) -> None:
        """Write the full ranking as Parquet: one line per row and per column of every matrix.

        Columns: `axis` (row or column), `block`, `kind`, `module`, `part`, `tensor`, `expert`,
        `index` (within the expert's matrix), `weights`, `score`, `peak` (rows only).
        """
        import io

        import pyarrow as pa
        import pyarrow.parquet as parquet

        from hfbiasedit.files import write_bytes

        tables = [pa.table(_lines(item, self.scores[item.name])) for item in self.projections]
        table = pa.concat_tables(tables, promote_options="default").sort_by(
            [("score", "descending")]
        )
        table = table.replace_schema_metadata({"saliency": self.saliency})
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, compression="zstd")
        write_bytes(path, buffer.getvalue())


def contrast(
    bias: Mapping[str, Sums], code: Mapping[str, Sums], items: list[Projection]
) -> dict[str, Sums]:
    """Bias over code saliency of rows and columns, per weight; sums keep their size in weights.

    The damping is the mean code saliency of a weight over the whole model, so that weights that
    code hardly uses do not win by a division by almost nothing.
    """
    damping = mean_saliency(code, items)
    found = {}
    for item in items:
        own, other = bias[item.name], code[item.name]
        inner = item.rows // item.experts
        rows = ratio(own.rows, other.rows / item.columns, damping)
        peaks = ratio(own.peaks, other.rows / item.columns, damping)
        columns = ratio(own.columns, other.columns / inner, damping)
        found[item.name] = Sums(rows, peaks, columns)
    return found


def mean_saliency(sums: Mapping[str, Sums], items: list[Projection]) -> float:
    """Mean saliency of a weight over all projections.

    Raises:
        BiasEditError: it is zero or not finite, so that nothing can be ranked by it.
    """
    total = sum(float(sums[item.name].rows.sum()) for item in items)
    mean = total / sum(item.weights for item in items)
    if not 0 < mean < float("inf"):
        raise nothing_to_rank_by()
    return mean


def nothing_to_rank_by() -> BiasEditError:
    """The error of a model whose gradients are zero everywhere, or not finite."""
    return BiasEditError(
        "the gradients are zero or not finite, so no weights can be located; "
        "check the model and its dtype (float16 overflows easily: use bfloat16 or float32)"
    )


def _lines(item: Projection, sums: Sums) -> dict[str, Any]:
    """The columns of the Parquet table for one projection: its rows, then its columns."""
    inner = item.rows // item.experts
    parts = [item.part_of(row) for row in range(inner)] * item.experts
    rows, columns = item.rows, item.experts * item.columns
    both = rows + columns
    return {
        "axis": ["row"] * rows + ["column"] * columns,
        "block": [item.block] * both,
        "kind": [item.kind] * both,
        "module": [item.role] * both,
        "part": parts + [item.role] * columns,
        "tensor": [item.name] * both,
        "expert": [row // inner for row in range(rows)]
        + [column // item.columns for column in range(columns)],
        "index": [row % inner for row in range(rows)]
        + [column % item.columns for column in range(columns)],
        "weights": [item.columns] * rows + [inner] * columns,
        "score": torch.cat([sums.rows, sums.columns]).tolist(),
        "peak": [*sums.peaks.tolist(), *([None] * columns)],
    }
