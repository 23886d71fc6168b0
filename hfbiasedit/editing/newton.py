"""Gauss-Newton steps for edits of few weights.

With few weights the whole problem fits a linear model: J [P, D] says how logit(m) of every prompt
moves with every selected weight. One step minimises, over the total move u,

    mean_p  w_p ((m_p - f_p) / w_p + J_p (u - u_now))^2  +  the same for the log gender mass
    + u^T R u  +  damping * (u - u_now)^T R (u - u_now),      R = kappa F + rho I

with w = m(1-m), the curvature of KL(f || m), and F the Fisher metric of general code (`metric`).
P is far below D, so it is solved in prompt space: a P x P system. kappa, the price of changing
general code, and the damping towards the last state are not guessed: every step tries a few, rounds
each to the checkpoint's dtype, and keeps the one with the lowest FB-Score on `dev` whose measured
divergence is within the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.jacobian import Jacobian, Tape, is_recordable, jacobian, recorded
from hfbiasedit.editing.metric import Metric, fisher
from hfbiasedit.editing.optimisation import Outcome, Score, Task, prepared, scored, settle
from hfbiasedit.errors import BiasEditError

STEPS = 5
KAPPAS = (0.3, 1.0, 3.0)  # tried at the first step; later ones stay near the best
DAMPINGS = (0.0, 1.0, 3.0)
RHO = 1e-3  # of the mean squared length of a prompt's gradient
GAIN = 0.02  # relative gain on dev below which a step was not worth it
LIMIT = 1 << 28  # elements of the Jacobian (1 GiB); above, the first-order optimiser takes over
_PIECE = 32
_CURVATURE = 0.03  # floor of w: prompts whose share is extreme still pull


@dataclass
class _Candidate:
    kappa: float
    damping: float
    move: Tensor
    score: Score


def uses_newton(task: Task, deltas: Deltas) -> bool:
    """Whether an edit is solved here: asked for, or few weights whose linear model fits.

    Raises:
        BiasEditError: it was asked for and cannot be done.
    """
    wanted, few = task.config.solver, task.config.granularity in ("row", "neuron", "unit")
    if wanted == "adam" or (wanted == "auto" and not few):
        return False
    width = sum(value.numel() for value in deltas.values.values())
    fits = 2 * len(task.train) * width <= LIMIT
    plain = is_recordable(task.loaded.model, deltas.slices)
    if wanted == "newton" and not (fits and plain):
        reason = "other than rows or entries of plain projections" if fits else "too many weights"
        raise BiasEditError(f"the selection holds {reason} for --solver newton; use adam")
    return fits and plain


def solve(task: Task, deltas: Deltas) -> Outcome:
    """Move the deltas by Gauss-Newton steps; they end at the best state (or at zero)."""
    train = prepared(task, task.prompts.batches(task.train, _PIECE))
    dev = prepared(task, task.prompts.batches(task.dev, _PIECE))
    sizes = sizes_of(deltas)
    scale = spread(deltas, sizes)
    now = torch.zeros(len(scale))
    before = scored(task, dev)
    outcome = Outcome(None, before.fb, before.fb, before.kl, 0, "all steps done")
    kappas: tuple[float, ...] = KAPPAS
    last = before.fb
    with progress("editing", STEPS) as bar, recorded(task.loaded.model, deltas.slices) as tape:
        metric = fisher(task.loaded, tape, task.keep, task.trunk, sizes, task.config.seed)
        for step in range(1, STEPS + 1):
            rows, residual, loss = linear_model(task, tape, train, scale, now)
            if not bool(torch.isfinite(rows).all() and torch.isfinite(residual).all()):
                outcome.stopped = "the gradients were not finite"
                break
            with torch.no_grad():
                found = _candidates(task, deltas, dev, metric, rows, residual, now, scale, kappas)
            best = _best(found, task.config.max_kl)
            bar.advance()
            bar.describe(f"editing: dev FB {best.score.fb:.1f}, KL {best.score.mean_kl:.4f}")
            outcome.history.append(_entry(step, loss, best))
            if best.score.mean_kl <= task.config.max_kl and best.score.fb < outcome.dev_after:
                _write(deltas, best.move, scale)
                outcome.state, outcome.steps = deltas.state(), step
                outcome.dev_after, outcome.kl = best.score.fb, best.score.kl
            elif step > 1 and best.score.fb > (1 - GAIN) * last:
                outcome.stopped = "dev got no better"
                break
            now, last = best.move, best.score.fb
            _write(deltas, now, scale)
            kappas = (best.kappa / 3, best.kappa, best.kappa * 3)
    settle(deltas, outcome)
    return outcome


def sizes_of(deltas: Deltas) -> list[float]:
    """Root mean square of each tensor's selected weights: the unit of their moves."""
    return [max(float(b.double().square().mean().sqrt()), 1e-4) for b in deltas.base.values()]


def spread(deltas: Deltas, sizes: list[float]) -> Tensor:
    """Every tensor's unit, repeated for each of its selected weights [D]."""
    pairs = zip(deltas.values.values(), sizes, strict=True)
    return torch.cat([torch.full((value.numel(),), size) for value, size in pairs])


def linear_model(
    task: Task, tape: Tape, batches: list, scale: Tensor, now: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Rows A and residual c of mean loss ||A u + c||^2 / 2, and the loss mean KL(f || m) itself."""
    found = jacobian(task.loaded, tape, batches, task.trunk)
    m, f, count = found.share, found.target, len(found.share)
    weight = torch.maximum(m * (1 - m), f * (1 - f)).clamp_min(_CURVATURE)
    share = (weight / count).sqrt()
    mass = math.sqrt(2 * task.config.mass / count)
    rows = torch.cat([share[:, None] * found.share_rows, mass * found.mass_rows]) * scale
    residual = torch.cat([share * (m - f) / weight, mass * found.mass_change])
    return rows, residual - rows @ now, _divergence(found)


def _divergence(found: Jacobian) -> float:
    m, f = found.share.clamp(1e-6, 1 - 1e-6), found.target
    cross = -(torch.xlogy(f, m) + torch.xlogy(1 - f, 1 - m))
    entropy = -(torch.xlogy(f, f) + torch.xlogy(1 - f, 1 - f))
    return float((cross - entropy).mean())


def _candidates(
    task: Task,
    deltas: Deltas,
    dev: list,
    metric: Metric,
    rows: Tensor,
    residual: Tensor,
    now: Tensor,
    scale: Tensor,
    kappas: tuple[float, ...],
) -> list[_Candidate]:
    """Solve and score for every kappa and damping; dearer kappas follow while none is allowed."""
    rho = RHO * float(rows.square().sum()) / len(rows)
    found: list[_Candidate] = []
    queue = list(kappas)
    while queue:
        kappa = queue.pop(0)
        system = whitened(metric, rows, kappa, rho)
        for damping in DAMPINGS if bool(now.any()) else (0.0,):
            move = solved(system, residual, now, damping)
            _write(deltas, move, scale)
            found.append(_Candidate(kappa, damping, move, scored(task, dev)))
        dear = all(item.score.mean_kl > task.config.max_kl for item in found)
        if not queue and dear and kappa < 1e6:
            queue.append(kappa * 10)
    return found


@dataclass(frozen=True)
class Whitened:
    """The rows A [P, D] with A R^-1/2 (in the metric's eigenbasis) and A R^-1 A^T [P, P]."""

    metric: Metric
    kappa: float
    rho: float
    rows: Tensor
    white: Tensor
    gram: Tensor


def whitened(metric: Metric, rows: Tensor, kappa: float, rho: float) -> Whitened:
    """Prepare `solved` for one price of changing general code; the dear part of a step."""
    white = metric.whiten(rows, kappa, rho)
    return Whitened(metric, kappa, rho, rows, white, (white @ white.T).double())


def solved(system: Whitened, residual: Tensor, now: Tensor, damping: float) -> Tensor:
    """The u [D] with the least |A u + c|^2 + |u|_R^2 + damping * |u - now|_R^2."""
    # |u|^2 + d |u - now|^2 is (1 + d) |u - centre|^2 up to a constant.
    centre, strength = now * damping / (1 + damping), 1 + damping
    gram = system.gram / strength + torch.eye(len(system.gram), dtype=torch.float64)
    dual = torch.linalg.solve(gram, (residual + system.rows @ centre).double()).float()
    move = (dual @ system.white)[None] / strength
    return centre - system.metric.unwhiten(move, system.kappa, system.rho)[0]


def _best(found: list[_Candidate], limit: float) -> _Candidate:
    """Lowest dev score within the allowed divergence; else the smallest divergence."""
    allowed = [item for item in found if item.score.mean_kl <= limit]
    if allowed:
        return min(allowed, key=lambda item: item.score.fb)
    return min(found, key=lambda item: item.score.mean_kl)


def _write(deltas: Deltas, move: Tensor, scale: Tensor) -> None:
    """Set the deltas from a move in units of the tensors' typical weights."""
    state, start = {}, 0
    for name, value in deltas.values.items():
        count = value.numel()
        piece = (move * scale)[start : start + count].view(value.shape)
        state[name], start = piece.to(value), start + count
    deltas.set_(state)


def _entry(step: int, loss: float, best: _Candidate) -> dict[str, float]:
    return {
        "step": step,
        "loss_bias": loss,
        "loss_keep": best.score.mean_kl,
        "dev_fb": best.score.fb,
        "kl": best.score.mean_kl,
        "keep": best.kappa,
    }
