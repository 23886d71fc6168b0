"""The coordinates in which an edit is solved: moves of which all cost the same.

A move U of a tensor's selected weights is written U = first V second^T, with the sides' prices
taken out (`price`): a unit of any coordinate of V costs general code the same. Where a selection
has more weights than fit, V is cut to the leading directions of the prompts' own inputs and output
gradients: the best move is a sum of their products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.running.recording import Key, Passed, layout_of
from hfbiasedit.editing.weights.partial import Plan, plan_of
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice

_ENTRIES = 4096  # single weights of one piece: their products with all tokens take memory


@dataclass(frozen=True)
class Side:
    """One side of a tensor: [n] scales, or [n, r] directions (scaled, orthogonal before)."""

    values: Tensor

    @property
    def count(self) -> int:
        """How many coordinates the side has."""
        return self.values.shape[-1]

    def reduce(self, factor: Tensor) -> Tensor:
        """From [..., n] of gradients to [..., count]."""
        values = self.values.to(factor.device)
        return factor * values if values.dim() == 1 else factor @ values

    def expand(self, move: Tensor) -> Tensor:
        """From a move [count, ...] to [n, ...]."""
        return self.values[:, None] * move if self.values.dim() == 1 else self.values @ move


@dataclass
class Coordinates:
    """Of every matrix with selected weights: how its gradient is formed, how its moves are written.

    Attributes:
        plans: see `partial`; in the order of the coordinates, experts of a tensor ascending.
        sides: (first, second) in the layout of `Slice.take`.
        scales: [n] for single weights, which have no sides.
    """

    plans: dict[Key, Plan] = field(default_factory=dict)
    sides: dict[Key, tuple[Side, Side]] = field(default_factory=dict)
    scales: dict[Key, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, model: nn.Module, slices: Mapping[str, Slice], prices: Mapping[str, Price]
    ) -> Coordinates:
        """One coordinate for every selected weight."""
        found = cls()
        for name, part in slices.items():
            layout, device = layout_of(model, name), model.get_parameter(name).device
            for expert, own in own_slices(part):
                plan = plan_of(own, layout.transposed, device)
                found._add((name, expert), own, plan, prices[name])
        return found

    def _add(self, key: Key, part: Slice, plan: Plan, price: Price) -> None:
        inputs, outputs = (side.rsqrt() for side in price.of(key[1]))
        inputs = inputs if plan.inputs is None else inputs[plan.inputs.cpu()]
        outputs = outputs if plan.output is None else outputs[plan.output.cpu()]
        self.plans[key] = plan
        if part.kind == ENTRIES:
            assert plan.row is not None
            assert plan.column is not None
            self.scales[key] = outputs[plan.row.cpu()] * inputs[plan.column.cpu()]
        else:
            pair = (inputs, outputs) if plan.input_first else (outputs, inputs)
            self.sides[key] = (Side(pair[0]), Side(pair[1]))

    @property
    def names(self) -> list[str]:
        """The tensors."""
        return list(dict.fromkeys(name for name, _ in self.plans))

    @property
    def keys(self) -> list[Key]:
        """The matrices, in the order of their coordinates."""
        return list(self.plans)

    def count(self, key: Key) -> int:
        """How many coordinates one matrix has."""
        if key in self.scales:
            return len(self.scales[key])
        first, second = self.sides[key]
        return first.count * second.count

    @property
    def total(self) -> int:
        """How many coordinates there are."""
        return sum(self.count(key) for key in self.keys)

    def factors(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """Selected inputs [..., in] and output gradients [..., out], float32, first side first."""
        plan, x, g = self.plans[passed.key], passed.x, passed.g
        x = x if plan.inputs is None else x[..., plan.inputs]
        g = g if plan.output is None else g[..., plan.output]
        return (x.float(), g.float()) if plan.input_first else (g.float(), x.float())

    def per_sequence(self, passed: Passed) -> Tensor:
        """Gradients [S, count] of every sequence, or of every prompt of a row."""
        if passed.key in self.scales:
            found = _of_entries(self.plans[passed.key], passed)
            return found * self.scales[passed.key].to(found.device)
        first, second = self.sides[passed.key]
        left, right = self.factors(passed)
        left, right = passed.split(first.reduce(left), second.reduce(right))
        return (left.transpose(-1, -2) @ right).flatten(1)

    def to_weights(self, move: Tensor) -> dict[str, Tensor]:
        """The change of every selected weight (as `Slice.take` has them) of a move [total]."""
        found: dict[str, list[Tensor]] = {}
        start = 0
        for key in self.keys:
            piece = move[start : (start := start + self.count(key))]
            if key in self.scales:
                change = piece * self.scales[key]
            else:
                first, second = self.sides[key]
                change = second.expand(first.expand(piece.view(first.count, second.count)).T).T
            found.setdefault(key[0], []).append(change)
        return {
            name: pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            for name, pieces in found.items()
        }

    def part(
        self, model: nn.Module, slices: Mapping[str, Slice], prices: Mapping[str, Price]
    ) -> Coordinates:
        """Those of a part of the selection, which moves in the same directions."""
        found = Coordinates.of(model, slices, prices)
        for key, (first, _) in found.sides.items():
            wide = self.sides[key]
            whole = slices[key[0]].kind != ROWS
            found.sides[key] = (wide[0] if whole else first, wide[1])
        return found

    def narrowed(self, directions: Mapping[Key, tuple[Tensor | None, Tensor | None]]) -> None:
        """Keep only some directions [n, r] of the sides of some matrices (None: all of them)."""
        for key, pair in directions.items():
            kept = [
                side if found is None else Side(side.values[:, None] * found)
                for side, found in zip(self.sides[key], pair, strict=True)
            ]
            self.sides[key] = (kept[0], kept[1])


def _of_entries(plan: Plan, passed: Passed) -> Tensor:
    """Gradients [P, entries] of single weights: a product of two numbers for every token.

    A token is multiplied once, whatever number of prompts it belongs to.
    """
    assert plan.output is not None
    assert plan.inputs is not None
    assert plan.row is not None
    assert plan.column is not None
    x, g = (side.flatten(0, 1).T.contiguous() for side in (passed.x, passed.g))
    rows, columns = plan.output[plan.row], plan.inputs[plan.column]
    pieces = zip(rows.split(_ENTRIES), columns.split(_ENTRIES), strict=True)
    found = [passed.added_up(g[row].float() * x[column].float()) for row, column in pieces]
    return torch.cat(found, 1)


def own_slices(part: Slice) -> Iterator[tuple[int, Slice]]:
    """The slice of every single matrix of a tensor, ascending, with the matrix's number.

    A whole stack of experts has none: its matrices are never all given tokens.
    """
    if len(part.shape) == 2:
        yield 0, part
    elif part.index is not None:
        shape = part.shape[1:]
        each = shape[0] * shape[1] if part.kind == ENTRIES else shape[part.axis]
        for expert in torch.unique(part.index // each).tolist():
            own = part.index[part.index // each == expert] - expert * each
            yield expert, Slice(part.name, part.kind, shape, part.axis, own)


RANKS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 8)


def rank_for(coordinates: Coordinates, slices: Mapping[str, Slice], most: int) -> int | None:
    """The largest rank at which there are at most `most` coordinates; None: no cut is needed.

    Rows keep their identity (what is long in them is cut down), single weights are left as they
    are. Where even the smallest rank is too much it is returned all the same.
    """
    if coordinates.total <= most:
        return None

    def width(key: Key, rank: int) -> int:
        if key in coordinates.scales:
            return coordinates.count(key)
        first, second = (side.count for side in coordinates.sides[key])
        return (first if slices[key[0]].kind == ROWS else min(first, rank)) * min(second, rank)

    fitting = [r for r in RANKS if sum(width(key, r) for key in coordinates.keys) <= most]
    return fitting[0] if fitting else RANKS[-1]


def leading(samples: Iterable[Tensor], rank: int) -> Tensor | None:
    """Orthonormal [n, rank]: the leading right singular vectors of vectors [m, n] in pieces.

    None where that is all directions there are.
    """
    # What is not finite is for the linear model to say; here it would be a failed factorisation.
    stacked = torch.cat(list(samples)).nan_to_num(0.0, 0.0, 0.0)
    if rank >= stacked.shape[1]:
        return None
    # The smaller of the two Gram matrices: vectors are few, or short.
    if len(stacked) < stacked.shape[1]:
        _, left = torch.linalg.eigh((stacked @ stacked.T).double())
        basis = stacked.T @ left[:, -rank:].float()
    else:
        _, basis = torch.linalg.eigh((stacked.T @ stacked).double())
        basis = basis[:, -rank:].float()
    return torch.linalg.qr(basis)[0]
