"""The joint solution: which weights the best small edit of the whole model would use, and how much.

Saliency of single weights looks at each alone; a few weights that say the same thing all rank high.
Here all prompts are solved for together, in the space of prompts (`dual`), with every weight of
every projection free to move at the price of general code (`price`), and a weight's score is the
energy of its own move, u_ij^2 F_ij. Two passes over the prompts and one over general code do it:

1. Every prompt's gradient g x^T per matrix is sketched by random projections of both sides to
   SKETCH x SKETCH numbers; inner products of sketches are those of gradients, up to noise that
   averages out over matrices. The dual is solved for folds of the templates, each by itself.
2. One backward pass weighted by the dual is the joint solution's move; of it only sums per row and
   per column are kept, by projecting the other side.

The mean over folds counts. (Geometric means, and what the folds' moves have in common, ranked rows
no better for prompts of templates that were left out.)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.console import progress, tracked, warn
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.kept import kept_prices, kept_sums, rows_digest
from hfbiasedit.editing.locating.measured import CONTRASTIVE
from hfbiasedit.editing.locating.method import Evidence, Judgement
from hfbiasedit.editing.locating.ranking import nothing_to_rank_by
from hfbiasedit.editing.locating.saliency import Sums
from hfbiasedit.editing.material.batches import PromptBatch, owners
from hfbiasedit.editing.material.dual import Targets, folds_of, solution_at
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import PRICED, Price, prices
from hfbiasedit.editing.material.prompts import Prompts, learning_weights
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import Passed, obstacle, recorded
from hfbiasedit.models.architecture import Projection
from hfbiasedit.texts.anchor import load_anchor

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

PROMPTS = 384  # that are solved for together: half of them rank rows almost alike
FOLDS = 3
SKETCH = 24  # numbers per side of a matrix; inner products are off by 1 / 24 of a matrix's share
SLIM = 48  # numbers of the other side when rows (or columns) are summed up
KL = 0.006  # nats; the predicted divergence at which solutions are compared


class JointSolution:
    """The saliency of this module."""

    def judge(self, evidence: Evidence) -> Judgement:
        """Solve for all prompts together and see which weights the solution moves.

        A model with other projections than can be recorded is judged by `contrastive` instead.

        Raises:
            BiasEditError: the gradients are zero everywhere, or not finite.
        """
        loaded, items, config = evidence.loaded, evidence.items, evidence.config
        names = [item.name for item in items]
        reason = obstacle(loaded.model, names)
        if reason is not None:
            warn(f"{reason}: ranked by contrastive saliency")
            return replace(CONTRASTIVE.judge(evidence), instead="contrastive")
        windows = prepare_windows(loaded, load_anchor(config.anchor), PRICED, config.seed)
        kept = evidence.kept
        known = kept_prices(kept, lambda: prices(loaded, names, windows, config.seed))
        options: dict[str, Any] = {"checkpoint": config.checkpoint, "kept": kept}
        joint = joint_solutions(loaded, items, evidence.prompts, known, config.seed, **options)
        scores = kept_sums(
            kept, lambda: joint_sums(loaded, items, joint, config.seed, config.checkpoint)
        )

        def entry_scores(pool: dict[str, Tensor]) -> dict[str, Tensor]:
            def entries() -> dict[str, Tensor]:
                return joint_entries(loaded, items, pool, joint, config.checkpoint)

            return kept.tensors(f"entries-{rows_digest(pool)}", entries)

        return Judgement(scores, entry_scores, anywhere=True, prices=known)


@dataclass(frozen=True)
class Joint:
    """The joint solutions, one per fold: which prompts, and what each of them weighs."""

    batches: list[list[PromptBatch]]
    duals: list[Tensor]
    prices: Mapping[str, Price]


def joint_solutions(
    loaded: LoadedModel,
    items: Sequence[Projection],
    prompts: Prompts,
    prices: Mapping[str, Price],
    seed: int,
    *,
    checkpoint: bool = False,
    kept: Kept | None = None,
) -> Joint:
    """Sketch every prompt's gradient and solve for each fold of the templates.

    Raises:
        BiasEditError: the gradients are zero everywhere, or not finite.
    """
    chosen = random.Random(seed).sample(range(len(prompts)), min(PROMPTS, len(prompts)))
    chosen.sort()
    kinds = folds_of([prompts.records[number].template for number in chosen], FOLDS)
    numbers = torch.tensor(chosen)
    members = [numbers[kinds == fold].tolist() for fold in range(int(kinds.max()) + 1)]
    batches = [prompts.batches(own) for own in members]
    known = None if kept is None else kept.load("duals")
    if known is not None:
        return Joint(batches, [known[0][str(fold)] for fold in range(len(members))], prices)
    sketches, logits = _sketched(loaded, items, prompts, batches, prices, seed, checkpoint)
    if not (sketches.any() and torch.isfinite(sketches).all()):
        raise nothing_to_rank_by()
    duals = []
    for fold, own in enumerate(members):
        gram = _gram(sketches[kinds == fold])
        records = [prompts.records[number] for number in own]
        factual = torch.tensor([record.share_female for record in records])
        targets = Targets.of(logits[own], factual, torch.tensor(learning_weights(prompts, own)))
        y = torch.zeros(len(prompts), dtype=torch.float64)
        y[own] = solution_at(gram, targets, KL).y
        duals.append(y.float())
    if kept is not None:
        kept.save("duals", {str(fold): y for fold, y in enumerate(duals)})
    return Joint(batches, duals, prices)


def _gram(sketches: Tensor) -> Tensor:
    total = torch.zeros(len(sketches), len(sketches))
    for matrix in sketches.unbind(1):
        total.addmm_(matrix.float(), matrix.float().T)
    return total.double()


def _sketched(
    loaded: LoadedModel,
    items: Sequence[Projection],
    prompts: Prompts,
    batches: Sequence[Sequence[PromptBatch]],
    prices: Mapping[str, Price],
    seed: int,
    checkpoint: bool,
) -> tuple[Tensor, Tensor]:
    """Sketches [P, matrices, SKETCH^2] of the P prompts in the batches, in the order of their
    numbers, and logits of shares by number.
    """
    # Experts share the projection of their inputs; those of their outputs keep them apart.
    sides = {
        item.name: tuple(
            _random(length, SKETCH, f"{seed}/{item.name}/{end}")
            for end, length in enumerate((item.columns, item.rows))
        )
        for item in items
    }
    order = {item.name: number for number, item in enumerate(items)}
    chosen = torch.cat([batch.index for group in batches for batch in group]).sort().values
    place = torch.zeros(len(prompts), dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    found = torch.zeros(len(chosen), len(items), SKETCH**2, dtype=torch.bfloat16)
    logits = torch.zeros(len(prompts))
    batch = batches[0][0]

    def receive(passed: Passed) -> None:
        x, g = _priced(passed, prices)
        inputs, outputs = sides[passed.name]
        left = g @ _expert(outputs, passed.expert, g.shape[-1]).to(g.device)
        products = (left.transpose(1, 2) @ (x @ inputs.to(x.device))).flatten(1).cpu()
        per_prompt = torch.zeros(len(batch), SKETCH**2).index_add_(0, owners(batch), products)
        found[place[batch.index], order[passed.name]] += per_prompt.to(found.dtype)

    todo = processes.share([batch for group in batches for batch in group])
    names = [item.name for item in items]
    with (
        progress("locating: gradients", len(todo)) as bar,
        checkpointing(loaded.model, checkpoint),
        recorded(loaded.model, names, receive),
    ):
        for batch in todo:
            terms = bias_terms(batch, run(loaded, batch))
            logits[batch.index] = terms.logit.detach().float().cpu()
            terms.logit.sum().backward()
            bar.advance()
    processes.add_up_([found, logits])
    return found, logits


def joint_sums(
    loaded: LoadedModel, items: Sequence[Projection], joint: Joint, seed: int, checkpoint: bool
) -> dict[str, Sums]:
    """Energies of rows and columns of every projection: means over the folds."""
    slim = {
        item.name: (
            _random(item.columns, SLIM, f"{seed}/{item.name}/rows"),
            _random(item.rows // item.experts, SLIM, f"{seed}/{item.name}/columns"),
        )
        for item in items
    }
    totals: dict[str, tuple[Tensor, Tensor]] = {}
    energies: dict[str, list[Tensor]] = {}
    weights: Tensor = torch.empty(0)

    def receive(passed: Passed) -> None:
        x, g = _priced(passed, joint.prices)
        g = g * weights.to(g.device)[:, None, None]
        x, g = x.flatten(0, 1), g.flatten(0, 1)
        across, down = (side.to(x.device) for side in slim[passed.name])
        rows, columns = totals[passed.name]
        _expert(rows, passed.expert, g.shape[1]).add_((g.T @ (x @ across)).cpu())
        _expert(columns, passed.expert, x.shape[1]).add_((x.T @ (g @ down)).cpu())

    names = [item.name for item in items]
    with (
        progress("locating: rows", sum(len(group) for group in joint.batches)) as bar,
        checkpointing(loaded.model, checkpoint),
        recorded(loaded.model, names, receive),
    ):
        for group, y in zip(joint.batches, joint.duals, strict=True):
            for item in items:
                lengths = item.rows, item.experts * item.columns
                totals[item.name] = (torch.zeros(lengths[0], SLIM), torch.zeros(lengths[1], SLIM))
            for batch in processes.share(group):
                weights = y[batch.index][owners(batch)]
                bias_terms(batch, run(loaded, batch)).logit.sum().backward()
                bar.advance()
            for item in items:
                sums = totals[item.name]
                processes.add_up_(list(sums))
                own = [side.double().square().sum(1) for side in sums]
                known = energies.get(item.name, [torch.zeros(()), torch.zeros(())])
                energies[item.name] = [a + b for a, b in zip(known, own, strict=True)]
    found = {}
    for item in items:
        rows, columns = (side / len(joint.duals) for side in energies[item.name])
        found[item.name] = Sums(rows, rows / item.columns, columns)
    return found


def joint_entries(
    loaded: LoadedModel,
    items: Sequence[Projection],
    pool: Mapping[str, Tensor],
    joint: Joint,
    checkpoint: bool,
) -> dict[str, Tensor]:
    """Energies [rows, columns] of every weight of some rows of some projections."""
    by_name = {item.name: item for item in items}
    inner = {name: by_name[name].rows // by_name[name].experts for name in pool}
    found = {name: torch.zeros(len(rows), by_name[name].columns) for name, rows in pool.items()}
    moves: dict[str, Tensor] = {}
    weights: Tensor = torch.empty(0)

    def receive(passed: Passed) -> None:
        rows = pool[passed.name]
        mine = rows // inner[passed.name] == passed.expert
        g = passed.g[..., (rows[mine] % inner[passed.name]).to(passed.g.device)].float()
        g = (g * weights.to(g.device)[:, None, None]).flatten(0, 1)
        moves[passed.name][mine] += (g.T @ passed.x.float().flatten(0, 1)).cpu()

    only = {
        (name, expert)
        for name, rows in pool.items()
        for expert in torch.unique(rows // inner[name]).tolist()
    }
    with checkpointing(loaded.model, checkpoint), recorded(loaded.model, pool, receive, only):
        for group, y in zip(joint.batches, joint.duals, strict=True):
            moves.update({name: torch.zeros_like(total) for name, total in found.items()})
            for batch in tracked(processes.share(group), "locating: weights"):
                weights = y[batch.index][owners(batch)]
                bias_terms(batch, run(loaded, batch)).logit.sum().backward()
            for name, move in moves.items():
                processes.add_up_([move])
                price = joint.prices[name]
                inputs = price.inputs.view(price.experts, -1)[pool[name] // inner[name]]
                scale = price.outputs[pool[name]][:, None] * inputs
                found[name] += move.square() / scale
    return {name: value / len(joint.duals) for name, value in found.items()}


def _priced(passed: Passed, prices: Mapping[str, Price]) -> tuple[Tensor, Tensor]:
    """x [S, T, in] and g [S, T, out] in units of which all cost the same, float32."""
    inputs, outputs = prices[passed.name].of(passed.expert)
    x, g = passed.x, passed.g
    return x.float() * inputs.rsqrt().to(x.device), g.float() * outputs.rsqrt().to(g.device)


def _expert(stacked: Tensor, expert: int, length: int) -> Tensor:
    """The rows of one expert in what holds `length` of each, one after the other (a view)."""
    return stacked[expert * length : (expert + 1) * length]


def _random(height: int, width: int, seed: str) -> Tensor:
    """A random projection: independent normal numbers, inner products kept on average."""
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(62))
    return torch.randn(height, width, generator=generator) / width**0.5


JOINT = JointSolution()
