"""What moving selected weights costs on general code: a Kronecker-factored Fisher metric.

For small moves u, KL(original || edited) is u^T F u / 2 with the Fisher matrix F of the next-token
distribution. Per projection F is taken as C (x) G: C = E[x x^T] over inputs at all tokens, and
G = the sum over tokens of g g^T over output gradients, per predicted place, for targets drawn from
the model's own distribution (K-FAC, Martens & Grosse 2015, arXiv:1503.05671). Single weights have
no matrix structure: the part of C (x) G between them is written out, C[c, c'] G[r, r'] for weights
(r, c) and (r', c'), or its diagonal alone where they are too many in one matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit.editing import processes
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import divergences
from hfbiasedit.editing.material.windows import Windows, choose
from hfbiasedit.editing.solving.jacobian import Bases, Moments, Tape

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_PIECE = 32  # windows of one pass
_DENSE = 2048  # single weights of one matrix whose part of F is written out


@dataclass(frozen=True)
class _Part:
    """One tensor's share, in the layout of `Slice.take`: [a, b], or [n] for single weights.

    Of `first` [a, a] and `second` [b, b] F is the Kronecker product; single weights name their
    places in the two by `index` [2, n]. F = (left (x) right) diag(values) (left (x) right)^T; for
    single weights `left` [n, n] alone, or nothing where F is taken as diagonal.
    """

    first: Tensor
    second: Tensor
    index: Tensor | None
    values: Tensor
    left: Tensor | None = None
    right: Tensor | None = None

    @property
    def diagonal(self) -> Tensor:
        """F's own diagonal."""
        first, second = self.first.diagonal(), self.second.diagonal()
        if self.index is None:
            return first[:, None] * second[None, :]
        return first[self.index[0]] * second[self.index[1]]

    def kept(self, items: Tensor) -> _Part:
        """The share of some items alone: places along the first axis, or of single weights."""
        if self.index is not None:
            return _part(self.first, self.second, self.index[:, items])
        return _part(self.first[items][:, items], self.second)


@dataclass(frozen=True)
class Metric:
    """u^T (kappa F + rho I) u over all selected weights, in the order of the tape."""

    parts: tuple[_Part, ...]

    def gram(self, blocks: Sequence[Tensor], kappa: float, rho: float) -> Tensor:
        """Inner products [N, N] of rows [N, D] (in blocks) under R^-1, R = kappa F + rho I."""
        starts = [sum(len(block) for block in blocks[:n]) for n in range(len(blocks) + 1)]
        gram = torch.zeros(starts[-1], starts[-1])
        for pieces in zip(*(self._pieces(block) for block in blocks), strict=True):
            part = pieces[0][0]
            root = (kappa * part.values + rho).rsqrt()
            white = [(_turned(part, piece, into=True) * root).flatten(1) for _, piece in pieces]
            for row, left in enumerate(white):  # the lower half: it is symmetric
                for column, right in enumerate(white[: row + 1]):
                    here = slice(starts[row], starts[row + 1])
                    there = slice(starts[column], starts[column + 1])
                    gram[here, there].addmm_(left, right.T)
        return gram.tril() + gram.tril(-1).T

    def inverse(self, move: Tensor, kappa: float, rho: float) -> Tensor:
        """R^-1 times a vector [D]."""
        found = []
        for part, piece in self._pieces(move[None]):
            inside = _turned(part, piece, into=True) / (kappa * part.values + rho)
            found.append(_turned(part, inside, into=False).flatten())
        return torch.cat(found)

    def times(self, move: Tensor) -> Tensor:
        """F times a vector [D]."""
        found = []
        for part, piece in self._pieces(move[None]):
            inside = _turned(part, piece, into=True) * part.values
            found.append(_turned(part, inside, into=False).flatten())
        return torch.cat(found)

    def _pieces(self, rows: Tensor) -> Iterator[tuple[_Part, Tensor]]:
        """The columns of rows [N, D] that belong to each part, in the part's layout."""
        start = 0
        for part in self.parts:
            count = part.values.numel()
            yield part, rows[:, start : start + count].view(len(rows), *part.values.shape)
            start += count

    def kept(self, items: Sequence[Tensor]) -> Metric:
        """The metric of some items of every tensor; a tensor of which nothing is left goes."""
        pairs = zip(self.parts, items, strict=True)
        return Metric(tuple(part.kept(chosen) for part, chosen in pairs if len(chosen)))

    def energy(self, move: Tensor, kappa: float, rho: float) -> list[Tensor]:
        """Per tensor, what each weight's own move costs [a, b]: u_i^2 (kappa F_ii + rho)."""
        pieces = self._pieces(move[None])
        return [u[0].square() * (kappa * part.diagonal + rho) for part, u in pieces]


def code_moments(
    loaded: LoadedModel, tape: Tape, windows: Windows, trunk: Any, seed: int
) -> Moments:
    """C and G of every selected tensor, on windows of general code.

    Under several processes each takes its share of the windows and all hold the same result.
    """
    found = Moments.of(tape)
    counts = torch.zeros(2)
    for start in processes.share(range(0, len(windows), _PIECE)):
        piece = choose(windows, range(start, min(start + _PIECE, len(windows))))
        logits = run(loaded, piece, trunk).float()
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        drawn = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)
        likelihood = logits.gather(1, drawn.to(logits.device)).squeeze(1) - logits.logsumexp(-1)
        likelihood.sum().backward()
        counts += torch.tensor([float(piece.input_ids.numel()), float(len(drawn))])
        for name in tape.names:
            x, g = tape.factors(name)
            found.add(name, x.flatten(0, -2), g.flatten(0, -2))
    found.complete()
    processes.add_up_([counts])
    tokens, places = counts.clamp_min(1).tolist()
    for name in tape.names:
        found.inputs[name] /= tokens
        found.outputs[name] /= places
    return found


def divergence_gradient(
    loaded: LoadedModel, tape: Tape, windows: Windows, trunk: Any
) -> tuple[Tensor, float]:
    """Gradient [D] of the mean KL(original || now) on windows of general code, and that mean.

    Under several processes each takes its share of the windows and all hold the same result.
    """
    total = torch.zeros(sum(tape.count(name) for name in tape.names))
    seen = torch.zeros(2)
    mine = processes.share(range(len(windows)))
    for start in range(0, len(mine), _PIECE):
        piece = choose(windows, mine[start : start + _PIECE])
        assert piece.original is not None
        found = divergences(piece.original, run(loaded, piece, trunk))
        found.sum().backward()
        seen += torch.tensor([float(found.detach().sum()), float(len(found))])
        total += torch.cat([tape.total(name).cpu() for name in tape.names])
    processes.add_up_([total, seen])
    return total / seen[1].clamp_min(1), float(seen[0] / seen[1].clamp_min(1))


def metric_of(tape: Tape, code: Moments, sizes: list[float]) -> Metric:
    """The metric of the tape's coordinates, in units of `sizes` (per tensor)."""
    parts = []
    for name, size in zip(tape.names, sizes, strict=True):
        plan, bases = tape.plans[name], tape.bases.get(name, Bases())
        inputs, outputs = code.inputs[name] * size**2, code.outputs[name]
        if plan.row is not None and plan.column is not None:
            index = torch.stack([plan.row, plan.column]).cpu()
            parts.append(_part(outputs, inputs, index))
            continue
        first, second = (inputs, outputs) if plan.input_first else (outputs, inputs)
        parts.append(_part(bases.reduce(first, first=True), bases.reduce(second, first=False)))
    return Metric(tuple(parts))


def _turned(part: _Part, piece: Tensor, *, into: bool) -> Tensor:
    """Rows [P, a, b] or [P, n] into the eigenbasis of a part, or out of it."""
    left, right = part.left, part.right
    if left is None:
        return piece
    if right is None:
        return piece @ (left if into else left.T)
    return left.T @ piece @ right if into else left @ piece @ right.T


def _part(first: Tensor, second: Tensor, index: Tensor | None = None) -> _Part:
    """Diagonalise F = first (x) second, or the part of it between single weights."""
    if index is None:
        left_values, left = _eigen(first)
        right_values, right = _eigen(second)
        values = left_values[:, None] * right_values[None, :]
        return _Part(first, second, None, values, left, right)
    row, column = index
    if index.shape[1] > _DENSE:
        return _Part(first, second, index, first.diagonal()[row] * second.diagonal()[column])
    values, left = _eigen(first[row][:, row] * second[column][:, column])
    return _Part(first, second, index, values, left)


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.clamp_min(0).float(), vectors.float()
