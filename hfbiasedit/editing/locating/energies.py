"""How much of the joint solutions' moves lies in every row, column and weight: energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.console import progress, tracked
from hfbiasedit.editing.locating.projecting import part_of, priced, random_projection
from hfbiasedit.editing.locating.saliency import Sums
from hfbiasedit.editing.locating.solutions import Joint
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import Passed, home_of, recorded
from hfbiasedit.models.architecture import Projection

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

SLIM = 48  # numbers of the other side when rows (or columns) are summed up


def joint_sums(
    loaded: LoadedModel, items: Sequence[Projection], joint: Joint, seed: int, checkpoint: bool
) -> dict[str, Sums]:
    """Energies of rows and columns of every projection: means over the folds."""
    homes = {item.name: home_of(loaded.model, item.name) for item in items}
    slim = {
        item.name: tuple(
            random_projection(length, SLIM, f"{seed}/{item.name}/{side}").to(homes[item.name])
            for side, length in (("rows", item.columns), ("columns", item.rows // item.experts))
        )
        for item in items
    }
    totals: dict[str, tuple[Tensor, Tensor]] = {}
    energies: dict[str, list[Tensor]] = {}

    def receive(passed: Passed) -> None:
        x, g = (side.flatten(0, 1) for side in priced(passed, joint.prices))
        across, down = (side.to(x.device) for side in slim[passed.name])
        rows, columns = totals[passed.name]
        part_of(rows, passed.expert, g.shape[1]).add_((g.T @ (x @ across)).to(rows.device))
        part_of(columns, passed.expert, x.shape[1]).add_((x.T @ (g @ down)).to(columns.device))

    names = [item.name for item in items]
    with (
        progress("locating: rows", sum(len(group) for group in joint.batches)) as bar,
        checkpointing(loaded.model, checkpoint),
        recorded(loaded.model, names, receive),
    ):
        for group, y in zip(joint.batches, joint.duals, strict=True):
            for item in items:
                lengths = item.rows, item.experts * item.columns
                rows, columns = (
                    torch.zeros(length, SLIM, device=homes[item.name]) for length in lengths
                )
                totals[item.name] = rows, columns
            for batch in processes.share(group):
                _differentiate(loaded, batch, y)
                bar.advance()
            for item in items:
                sums = [side.cpu() for side in totals[item.name]]
                processes.add_up_(sums)
                own = [side.double().square().sum(1) for side in sums]
                known = energies.get(item.name, [torch.zeros(()), torch.zeros(())])
                energies[item.name] = [a + b for a, b in zip(known, own, strict=True)]
    found = {}
    for item in items:
        rows, columns = (side / len(joint.duals) for side in energies[item.name])
        found[item.name] = Sums(rows, rows / item.columns, columns)
    return found


def _differentiate(loaded: LoadedModel, batch: PromptBatch, y: Tensor) -> None:
    """A backward pass of the batch's logits of shares, weighted by the dual y [P]."""
    logit = bias_terms(batch, run(loaded, batch)).logit
    (y[batch.index].to(logit) * logit).sum().backward()


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

    def receive(passed: Passed) -> None:
        rows = pool[passed.name]
        mine = rows // inner[passed.name] == passed.expert
        g = passed.g[..., (rows[mine] % inner[passed.name]).to(passed.g.device)].float()
        moves[passed.name][mine] += (g.flatten(0, 1).T @ passed.x.float().flatten(0, 1)).cpu()

    only = {
        (name, expert)
        for name, rows in pool.items()
        for expert in torch.unique(rows // inner[name]).tolist()
    }
    with checkpointing(loaded.model, checkpoint), recorded(loaded.model, pool, receive, only):
        for group, y in zip(joint.batches, joint.duals, strict=True):
            moves.update({name: torch.zeros_like(total) for name, total in found.items()})
            for batch in tracked(processes.share(group), "locating: weights"):
                _differentiate(loaded, batch, y)
            for name, move in moves.items():
                processes.add_up_([move])
                price = joint.prices[name]
                inputs = price.inputs.view(price.experts, -1)[pool[name] // inner[name]]
                scale = price.outputs[pool[name]][:, None] * inputs
                found[name] += move.square() / scale
    return {name: value / len(joint.duals) for name, value in found.items()}
