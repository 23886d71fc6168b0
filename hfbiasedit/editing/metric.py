"""What moving selected weights costs on general code: a Kronecker-factored Fisher metric.

For small moves u, KL(original || edited) is u^T F u / 2 with the Fisher matrix F of the next-token
distribution. Per projection F is taken as C (x) G: C = E[x x^T] over inputs at all tokens, and
G = the sum over tokens of g g^T over output gradients, per predicted place, for targets drawn from
the model's own distribution (K-FAC, Martens & Grosse 2015, arXiv:1503.05671). Single weights have
no matrix structure: for them the diagonal of C (x) G is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit.editing import distribution
from hfbiasedit.editing.anchor import Windows, choose
from hfbiasedit.editing.jacobian import Tape
from hfbiasedit.editing.material import run
from hfbiasedit.editing.partial import Plan

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_PIECE = 32  # windows of one pass


@dataclass(frozen=True)
class _Part:
    """One tensor's share: eigenvalues [a, b] in the bases `left` [a, a] and `right` [b, b].

    The axes are those of `Slice.take`'s layout. `diagonal` [a, b] is F's own diagonal. Single
    weights have no bases, and [n] values.
    """

    values: Tensor
    diagonal: Tensor
    left: Tensor | None = None
    right: Tensor | None = None


@dataclass(frozen=True)
class Metric:
    """u^T (kappa F + rho I) u over all selected weights, in the order of the tape."""

    parts: tuple[_Part, ...]

    def whiten(self, rows: Tensor, kappa: float, rho: float) -> Tensor:
        """R^-1/2 of every row [P, D] (in the eigenbasis), R = kappa F + rho I."""
        return self._each(rows, kappa, rho, into=True)

    def unwhiten(self, rows: Tensor, kappa: float, rho: float) -> Tensor:
        """R^-1/2 from the eigenbasis back to weights: the second half of R^-1."""
        return self._each(rows, kappa, rho, into=False)

    def energy(self, move: Tensor, kappa: float, rho: float) -> list[Tensor]:
        """Per tensor, what each weight's own move costs [a, b]: u_i^2 (kappa F_ii + rho)."""
        found, start = [], 0
        for part in self.parts:
            count = part.values.numel()
            piece = move[start : start + count].view(part.values.shape)
            found.append(piece.square() * (kappa * part.diagonal + rho))
            start += count
        return found

    def _each(self, rows: Tensor, kappa: float, rho: float, *, into: bool) -> Tensor:
        found, start = [], 0
        for part in self.parts:
            count = part.values.numel()
            piece = rows[:, start : start + count].view(len(rows), *part.values.shape)
            scale = (kappa * part.values + rho).rsqrt()
            if part.left is None or part.right is None:
                piece = piece * scale
            elif into:
                piece = (part.left.T @ piece @ part.right) * scale
            else:
                piece = part.left @ (piece * scale) @ part.right.T
            found.append(piece.reshape(len(rows), count))
            start += count
        return torch.cat(found, dim=1)


def fisher(
    loaded: LoadedModel, tape: Tape, windows: Windows, trunk: Any, sizes: list[float], seed: int
) -> Metric:
    """Measure the metric on windows of general code; weights are in units of `sizes` (per tensor).

    Under several processes each takes its share of the windows and all hold the same result.
    """
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    counts = torch.zeros(2)
    for start in distribution.share(range(0, len(windows), _PIECE)):
        piece = choose(windows, range(start, min(start + _PIECE, len(windows))))
        logits = run(loaded, piece, trunk).float()
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        drawn = torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)
        likelihood = logits.gather(1, drawn.to(logits.device)).squeeze(1) - logits.logsumexp(-1)
        likelihood.sum().backward()
        counts += torch.tensor([float(piece.input_ids.numel()), float(len(drawn))])
        for name in tape.names:
            plan = tape.plans[name]
            x, g = tape.inputs[name].flatten(0, -2), tape.gradients[name].flatten(0, -2)
            x = (x if plan.inputs is None else x[:, plan.inputs]).float()
            g = (g if plan.output is None else g[:, plan.output]).float()
            inputs[name] = inputs.get(name, 0.0) + (x.T @ x).cpu()
            outputs[name] = outputs.get(name, 0.0) + (g.T @ g).cpu()
    _complete(tape, inputs, outputs)
    distribution.add_up_([counts, *inputs.values(), *outputs.values()])
    tokens, places = counts.clamp_min(1).tolist()
    parts = []
    for name, size in zip(tape.names, sizes, strict=True):
        squares = inputs[name] / tokens * size**2
        parts.append(_part(tape.plans[name], squares, outputs[name] / places))
    return Metric(tuple(parts))


def _complete(tape: Tape, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    """Zeros where this process had no windows, so that all processes add up the same tensors."""
    for name in tape.names:
        if name in inputs:
            continue
        plan = tape.plans[name]
        module_in, module_out = tape.widths[name]
        wide = module_in if plan.inputs is None else len(plan.inputs)
        tall = module_out if plan.output is None else len(plan.output)
        inputs[name], outputs[name] = torch.zeros(wide, wide), torch.zeros(tall, tall)


def _part(plan: Plan, inputs: Tensor, outputs: Tensor) -> _Part:
    if plan.row is not None and plan.column is not None:
        row, column = plan.row.cpu(), plan.column.cpu()
        diagonal = inputs.diagonal()[column] * outputs.diagonal()[row]
        return _Part(diagonal, diagonal)
    first, second = (inputs, outputs) if plan.input_first else (outputs, inputs)
    left_values, left = _eigen(first)
    right_values, right = _eigen(second)
    diagonal = first.diagonal()[:, None] * second.diagonal()[None, :]
    return _Part(left_values[:, None] * right_values[None, :], diagonal, left, right)


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.clamp_min(0).float(), vectors.float()
