"""The coordinates in which an edit is solved: moves of which all cost the same.

A move U of a tensor's selected weights is written U = first V second^T, with the sides' prices
taken out (`price`): a unit of any coordinate of V costs general code the same. Where a selection
has more weights than fit, V is cut to the leading directions of the prompts' own inputs and output
gradients: the best move is a sum of their products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.weights.partial import Plan, plan_of
from hfbiasedit.editing.weights.slices import ENTRIES, ROWS, Slice
from hfbiasedit.models.architecture import submodule_weight


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
    """Of every selected tensor: how its gradient is formed, and how its moves are written.

    Attributes:
        plans: see `partial`. sides: (first, second) in the layout of `Slice.take`.
        scales: [n] for single weights, which have no sides.
    """

    plans: dict[str, Plan] = field(default_factory=dict)
    sides: dict[str, tuple[Side, Side]] = field(default_factory=dict)
    scales: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls, model: nn.Module, slices: Mapping[str, Slice], prices: Mapping[str, Price]
    ) -> Coordinates:
        """One coordinate for every selected weight."""
        found = cls()
        for name, part in slices.items():
            module, _ = submodule_weight(model, name)
            weight = module.get_parameter("weight")
            plan = plan_of(part, isinstance(module, Conv1D), weight.device)
            inputs, outputs = prices[name].inputs.rsqrt(), prices[name].outputs.rsqrt()
            found.plans[name] = plan
            inputs = inputs if plan.inputs is None else inputs[plan.inputs.cpu()]
            outputs = outputs if plan.output is None else outputs[plan.output.cpu()]
            if part.kind == ENTRIES:
                assert plan.row is not None
                assert plan.column is not None
                found.scales[name] = outputs[plan.row.cpu()] * inputs[plan.column.cpu()]
            else:
                pair = (inputs, outputs) if plan.input_first else (outputs, inputs)
                found.sides[name] = (Side(pair[0]), Side(pair[1]))
        return found

    @property
    def names(self) -> list[str]:
        """The tensors, in the order of their coordinates."""
        return list(self.plans)

    def count(self, name: str) -> int:
        """How many coordinates one tensor has."""
        if name in self.scales:
            return len(self.scales[name])
        first, second = self.sides[name]
        return first.count * second.count

    @property
    def total(self) -> int:
        """How many coordinates there are."""
        return sum(self.count(name) for name in self.names)

    def factors(self, name: str, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Selected inputs [..., in] and output gradients [..., out], float32, first side first."""
        plan = self.plans[name]
        x = x if plan.inputs is None else x[..., plan.inputs]
        g = g if plan.output is None else g[..., plan.output]
        return (x.float(), g.float()) if plan.input_first else (g.float(), x.float())

    def per_sequence(self, name: str, x: Tensor, g: Tensor) -> Tensor:
        """Gradients [S, count] from inputs x [S, T, in] and output gradients g [S, T, out]."""
        if name in self.scales:
            plan, scales = self.plans[name], self.scales[name].to(x.device)
            pairs = zip(x.float(), g.float(), strict=True)
            return torch.stack([plan.gradient(*pair) for pair in pairs]) * scales
        first, second = self.sides[name]
        left, right = self.factors(name, x, g)
        return (first.reduce(left).transpose(-1, -2) @ second.reduce(right)).flatten(1)

    def summed(self, name: str, x: Tensor, g: Tensor) -> Tensor:
        """The gradient [count] of all sequences together."""
        x, g = x.flatten(0, -2), g.flatten(0, -2)
        if name in self.scales:
            return self.plans[name].gradient(x.float(), g.float()) * self.scales[name].to(x.device)
        first, second = self.sides[name]
        left, right = self.factors(name, x, g)
        return (first.reduce(left).T @ second.reduce(right)).flatten()

    def to_weights(self, move: Tensor) -> dict[str, Tensor]:
        """The change of every selected weight (as `Slice.take` has them) of a move [total]."""
        found, start = {}, 0
        for name in self.names:
            count = self.count(name)
            piece = move[start : start + count]
            start += count
            if name in self.scales:
                found[name] = piece * self.scales[name]
                continue
            first, second = self.sides[name]
            inside = piece.view(first.count, second.count)
            found[name] = second.expand(first.expand(inside).T).T
        return found

    def narrowed(self, directions: Mapping[str, tuple[Tensor | None, Tensor | None]]) -> None:
        """Keep only some directions [n, r] of the sides of some tensors (None: all of them)."""
        for name, pair in directions.items():
            kept = [
                side if found is None else Side(side.values[:, None] * found)
                for side, found in zip(self.sides[name], pair, strict=True)
            ]
            self.sides[name] = (kept[0], kept[1])


RANKS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 8)


def rank_for(coordinates: Coordinates, slices: Mapping[str, Slice], most: int) -> int | None:
    """The largest rank at which there are at most `most` coordinates; None: no cut is needed.

    Rows keep their identity (what is long in them is cut down), single weights are left as they
    are. Where even the smallest rank is too much it is returned all the same.
    """
    if coordinates.total <= most:
        return None

    def width(name: str, rank: int) -> int:
        if name in coordinates.scales:
            return coordinates.count(name)
        first, second = (side.count for side in coordinates.sides[name])
        return (first if slices[name].kind == ROWS else min(first, rank)) * min(second, rank)

    fitting = [r for r in RANKS if sum(width(n, r) for n in coordinates.names) <= most]
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
