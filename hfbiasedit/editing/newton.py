"""Gauss-Newton steps for edits of few weights.

With few weights the whole problem fits a linear model: z = logit(m) of every prompt, and its log
gender mass c against the original's, as linear functions of the total move u of the selected
weights. One step minimises, in that model,

    mean_p  KL(f_p || sigmoid(z_p(u)))  +  mass * mean_p c_p(u)^2  +  u^T R u / 2

with R = kappa F + rho I and the Fisher metric F of general code (`metric`). Prompts are far fewer
than weights, so it is solved in prompt space. kappa, the price of changing general code, and how
far to go from the last state to the solution are not guessed: every step tries a few, rounds each
to the checkpoint's dtype, and keeps the one with the lowest FB-Score on `dev` whose measured
divergence is within the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hfbiasedit.console import progress
from hfbiasedit.editing.deltas import Deltas
from hfbiasedit.editing.jacobian import Jacobian, Tape, is_recordable, jacobian, recorded
from hfbiasedit.editing.metric import Metric, fisher
from hfbiasedit.editing.optimisation import Outcome, Score, Task, prepared, scored, settle
from hfbiasedit.errors import BiasEditError

STEPS = 4
KAPPAS = (0.3, 1.0, 3.0)  # tried at the first step; later ones stay near the best
LENGTHS = (1.0, 0.6, 0.3)  # of the way from the last state to the solution
RHO = 1e-3  # of the mean squared length of a prompt's gradient
GAIN = 0.02  # relative gain on dev below which a step was not worth it
LIMIT = 1 << 28  # elements of the Jacobian (1 GiB); above, the first-order optimiser takes over
_PIECE = 32
_ROUNDS = 8  # of reweighting; the loss is convex and the weights settle quickly
_EXTREME = 0.005  # factual shares are aimed at up to this far from 0 and 1


@dataclass
class _Candidate:
    kappa: float
    length: float
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
    last, linear = before.fb, None
    with progress("editing", STEPS) as bar, recorded(task.loaded.model, deltas.slices) as tape:
        metric = fisher(task.loaded, tape, task.keep, task.trunk, sizes, task.config.seed)
        for step in range(1, STEPS + 1):
            linear = linear_model(task, tape, train, scale, now, linear)
            if not linear.finite:
                outcome.stopped = "the gradients were not finite"
                break
            with torch.no_grad():
                found = _candidates(task, deltas, dev, metric, linear, now, scale, kappas)
            best = _best(found, task.config.max_kl)
            bar.advance()
            bar.describe(f"editing: dev FB {best.score.fb:.1f}, KL {best.score.mean_kl:.4f}")
            outcome.history.append(_entry(step, linear.loss, best))
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


@dataclass(frozen=True)
class Linear:
    """Linear model of P prompts: values `start + rows @ u`, logits first, then log masses.

    Attributes:
        rows: [2P, D]. start, goal: [2P], the values at u = 0 and what they should be.
        strength: [2P], the curvature of the loss at the goal.
        loss: mean KL(f || m) where the model was made.
    """

    rows: Tensor
    start: Tensor
    goal: Tensor
    strength: Tensor
    loss: float

    def part(self, prompts: Tensor) -> Linear:
        """The model of the prompts that a mask [P] marks."""
        both, share = torch.cat([prompts, prompts]), len(prompts) / float(prompts.sum())
        picked = (self.rows[both], self.start[both], self.goal[both])
        return Linear(*picked, self.strength[both] * share, self.loss)

    @property
    def finite(self) -> bool:
        """Whether all derivatives and values are."""
        return bool(torch.isfinite(self.rows).all() and torch.isfinite(self.start).all())

    @property
    def rho(self) -> float:
        """The isotropic price, from the mean squared length of a weighted row."""
        return RHO * float((self.strength * self.rows.square().sum(1)).mean())


def linear_model(
    task: Task,
    tape: Tape,
    batches: list,
    scale: Tensor,
    now: Tensor,
    earlier: Linear | None = None,
) -> Linear:
    """Differentiate all prompts at the move `now`; the mass as in an `earlier` model, if any.

    The mass is only held where it was, for which its first derivatives are good enough.
    """
    known = None if earlier is None else earlier.rows[len(earlier.rows) // 2 :] / scale
    found = jacobian(task.loaded, tape, batches, task.trunk, known)
    count = len(found.share)
    rows = torch.cat([found.share_rows, found.mass_rows]).mul_(scale)
    values = torch.cat([found.share.logit(1e-6), found.mass_change])
    aim = found.target.clamp(_EXTREME, 1 - _EXTREME)
    goal = torch.cat([aim.logit(), torch.zeros(count)])
    strength = torch.cat([aim * (1 - aim), torch.full((count,), 2 * task.config.mass)]) / count
    return Linear(rows, values - rows @ now, goal, strength, _divergence(found))


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
    linear: Linear,
    now: Tensor,
    scale: Tensor,
    kappas: tuple[float, ...],
) -> list[_Candidate]:
    """Solve and score for every kappa and length; dearer kappas follow while none is allowed."""
    found: list[_Candidate] = []
    queue = list(kappas)
    while queue:
        kappa = queue.pop(0)
        goal = solved(linear, metric, kappa)
        for length in LENGTHS if bool(now.any()) else (1.0,):
            move = now + length * (goal - now)
            _write(deltas, move, scale)
            found.append(_Candidate(kappa, length, move, scored(task, dev)))
        dear = all(item.score.mean_kl > task.config.max_kl for item in found)
        if not queue and dear and kappa < 1e6:
            queue.append(kappa * 10)
    return found


def solved(linear: Linear, metric: Metric, kappa: float, rho: float | None = None) -> Tensor:
    """The u [D] with the least loss in the linear model under R = kappa F + rho I.

    The loss is minimised by reweighting: with weights (m - f) / (z - logit f) the squared distance
    from logit f has the gradient of KL(f || m), and every round is a system in prompt space.
    """
    rho = linear.rho if rho is None else rho
    white = metric.whiten(linear.rows, kappa, rho)
    gram = (white @ white.T).double()
    wanted = (linear.goal - linear.start).double()
    values, dual = linear.start.double(), wanted
    for _ in range(_ROUNDS):
        price = torch.diag(1 / _weights(linear, values))
        dual = torch.linalg.solve(gram + price, wanted)
        values = linear.start + gram @ dual
    return metric.unwhiten((dual.float() @ white)[None], kappa, rho)[0]


def _weights(linear: Linear, values: Tensor) -> Tensor:
    """Weights of the squared distances from the goal, [2P]: secants of the loss's slope."""
    count = len(values) // 2
    goal, strength = linear.goal[:count].double(), linear.strength.double()
    away = values[:count] - goal
    slope = (values[:count].sigmoid() - goal.sigmoid()) / away / count
    near = away.abs() < 1e-3
    return torch.cat([torch.where(near, strength[:count], slope), strength[count:]])


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
