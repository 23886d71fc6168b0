"""The best small edit of the whole model, in the space of prompts: sketches, and their dual."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit import processes
from hfbiasedit.console import progress
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.editing.locating.projecting import part_of, priced, random_projection
from hfbiasedit.editing.locating.ranking import nothing_to_rank_by
from hfbiasedit.editing.material.batches import PromptBatch, owners
from hfbiasedit.editing.material.dual import Targets, folds_of, solution_at
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.material.prompts import Prompts, learning_weights
from hfbiasedit.editing.running.activations import beside
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.running.recording import Passed, home_of, recorded
from hfbiasedit.models.architecture import Projection

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

PROMPTS = 384  # that are solved for together: half of them rank rows almost alike
FOLDS = 3
SKETCH = 24  # numbers per side of a matrix; inner products are off by 1 / 24 of a matrix's share
KL = 0.006  # nats; the predicted divergence at which solutions are compared


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
    sketches, logits = sketched(loaded, items, prompts, batches, prices, seed, checkpoint)
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


def sketched(
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
            random_projection(length, SKETCH, f"{seed}/{item.name}/{end}").to(home)
            for end, length in enumerate((item.columns, item.rows))
        )
        for item, home in ((item, home_of(loaded.model, item.name)) for item in items)
    }
    order = {item.name: number for number, item in enumerate(items)}
    chosen = torch.cat([batch.index for group in batches for batch in group]).sort().values
    place = torch.zeros(len(prompts), dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    shape = (len(chosen), len(items), SKETCH**2)
    found = torch.zeros(shape, dtype=torch.bfloat16, device=beside(loaded.device))
    logits = torch.zeros(len(prompts))
    batch = batches[0][0]

    def receive(passed: Passed) -> None:
        x, g = priced(passed, prices)
        inputs, outputs = sides[passed.name]
        left = g @ part_of(outputs, passed.expert, g.shape[-1]).to(g.device)
        left, right = passed.split(left, x @ inputs.to(x.device))
        products = (left.transpose(1, 2) @ right).flatten(1)
        per_prompt = torch.zeros(len(batch), SKETCH**2, device=products.device)
        per_prompt.index_add_(0, owners(batch).to(products.device), products)
        here = place[batch.index].to(found.device)
        found[here, order[passed.name]] += per_prompt.to(found)

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
    found = found.cpu()
    processes.add_up_([found, logits])
    return found, logits
