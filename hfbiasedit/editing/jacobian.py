"""Gradients per prompt: how every prompt's score moves with every selected weight.

A loss that adds up over sequences reaches a projection's output at place t of sequence s only
through that sequence, so one backward pass over a batch holds all per-sequence gradients:
for a matrix with input x [S, T, in] and output gradient g [S, T, out] that of sequence s is
sum over t of g[s, t] x[s, t]^T. They are formed for the selected rows or entries only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.editing import distribution
from hfbiasedit.editing.batches import PromptBatch
from hfbiasedit.editing.material import run
from hfbiasedit.editing.objective import bias_terms
from hfbiasedit.editing.partial import Plan, plan_of
from hfbiasedit.editing.slices import WHOLE, Slice
from hfbiasedit.models.architecture import submodule_weight

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel


@dataclass
class Tape:
    """The last pass through every selected projection: its plan, input and output gradient.

    `widths` are the projections' numbers of inputs and outputs.
    """

    names: list[str]
    plans: dict[str, Plan]
    widths: dict[str, tuple[int, int]]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)

    def per_sequence(self, name: str) -> Tensor:
        """Gradients [S, n] of one tensor's selected weights, in the layout of `Slice.take`."""
        plan, x, g = self.plans[name], self.inputs[name].float(), self.gradients[name].float()
        x = x if plan.inputs is None else x[..., plan.inputs]
        g = g if plan.output is None else g[..., plan.output]
        if plan.row is not None:
            return torch.einsum("sto,sti->soi", g, x)[:, plan.row, plan.column]
        order = "sti,sto->sio" if plan.input_first else "sto,sti->soi"
        left, right = (x, g) if plan.input_first else (g, x)
        return torch.einsum(order, left, right).flatten(1)

    def per_prompt(self, owner: Tensor, prompts: int) -> Tensor:
        """Gradients [prompts, all selected weights]; `owner` [S] names each sequence's prompt."""
        parts = []
        for name in self.names:
            found = self.per_sequence(name)
            owner = owner.to(found.device)
            rows = found.new_zeros(prompts, found.shape[1])
            parts.append(rows.index_add_(0, owner, found).cpu())
        return torch.cat(parts, dim=1)


def is_recordable(model: nn.Module, slices: Mapping[str, Slice]) -> bool:
    """Whether every slice is rows or entries of a plain `Linear` or `Conv1D` weight."""
    for name, part in slices.items():
        module, attribute = submodule_weight(model, name)
        if part.kind == WHOLE or attribute != "weight":
            return False
        if type(module) not in (nn.Linear, Conv1D):
            return False
    return True


@contextlib.contextmanager
def recorded(model: nn.Module, slices: Mapping[str, Slice]) -> Iterator[Tape]:
    """Inside the block every forward and backward pass fills the tape."""
    plans, widths, handles = {}, {}, []
    # Weights are frozen: something must ask for a gradient, or there would be no backward pass.
    spark = torch.zeros((), requires_grad=True)
    for name, part in slices.items():
        module, _ = submodule_weight(model, name)
        transposed = isinstance(module, Conv1D)
        plans[name] = plan_of(part, transposed, module.weight.device)  # type: ignore[arg-type]
        wide, tall = part.shape if transposed else part.shape[::-1]
        widths[name] = (wide, tall)
    tape = Tape(list(slices), plans, widths)

    def hook(name: str) -> Any:
        def record(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return output
            if not output.requires_grad:
                output = output + spark.to(output)
            tape.inputs[name] = args[0].detach()
            output.register_hook(lambda gradient: tape.gradients.__setitem__(name, gradient))
            return output

        return record

    try:
        for name in slices:
            module, _ = submodule_weight(model, name)
            handles.append(module.register_forward_hook(hook(name)))
        yield tape
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Jacobian:
    """Linear model of P prompts in D selected weights, float32 on the CPU.

    Attributes:
        share_rows, mass_rows: [P, D], gradients of logit(m) and of the log gender mass.
        share, target, mass_change: [P], m, f and log mass - original log mass.
    """

    share_rows: Tensor
    mass_rows: Tensor
    share: Tensor
    target: Tensor
    mass_change: Tensor


def jacobian(
    loaded: LoadedModel,
    tape: Tape,
    batches: list[PromptBatch],
    trunk: Any,
    mass_rows: Tensor | None = None,
) -> Jacobian:
    """Differentiate all prompts of some batches at the model as it is now.

    The gradients of the mass are taken from `mass_rows` where given: a backward pass less.
    Under several processes each takes its share of the batches and all hold the same result.
    """
    counts = [len(batch) for batch in batches]
    starts = [sum(counts[:number]) for number in range(len(counts))]
    width = sum(plan.count for plan in tape.plans.values())
    total = sum(counts)
    share_rows, known = torch.zeros(total, width), mass_rows is not None
    mass_rows = mass_rows if mass_rows is not None else torch.zeros(total, width)
    columns = torch.zeros(3, total)
    for number in distribution.share(range(len(batches))):
        batch, place = batches[number], slice(starts[number], starts[number] + counts[number])
        terms = bias_terms(batch, run(loaded, batch, trunk))
        owner = owners(batch)
        # logit(m) = log P_F - log P_M, and log P_M = log mass + log(1 - m)
        logit = terms.log_share - torch.log1p(-terms.share.clamp_max(1 - 1e-6))
        logit.sum().backward(retain_graph=not known)
        share_rows[place] = tape.per_prompt(owner, len(batch))
        if not known:
            terms.log_mass.sum().backward()
            mass_rows[place] = tape.per_prompt(owner, len(batch))
        for row, value in enumerate((terms.share, batch.target, terms.mass_change)):
            columns[row, place] = value.detach().float().cpu()
    distribution.add_up_([share_rows, columns] if known else [share_rows, mass_rows, columns])
    return Jacobian(share_rows, mass_rows, *columns)


def owners(batch: PromptBatch) -> Tensor:
    """Which prompt of the batch each of its sequences belongs to, [S]."""
    owner = torch.zeros(len(batch.input_ids), dtype=torch.int64)
    owner[batch.sequence[batch.site]] = batch.slot[batch.tail] // 4
    return owner
