"""Gradients per prompt: how every prompt's score moves with every selected weight.

A loss that adds up over sequences reaches a projection's output at place t of sequence s only
through that sequence, so one backward pass over a batch holds all per-sequence gradients:
for a matrix with input x [S, T, in] and output gradient g [S, T, out] that of sequence s is
sum over t of g[s, t] x[s, t]^T. They are formed for the selected rows or entries only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.editing import processes
from hfbiasedit.editing.material.batches import PromptBatch
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import Bias, bias_terms
from hfbiasedit.editing.weights.partial import Plan, plan_of
from hfbiasedit.editing.weights.slices import Slice
from hfbiasedit.models.architecture import submodule_weight

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel


@dataclass(frozen=True)
class Bases:
    """Orthonormal directions [a, r] and [b, s] of a tensor [a, b]; None: all of them."""

    first: Tensor | None = None
    second: Tensor | None = None

    def expand(self, move: Tensor) -> Tensor:
        """first @ move @ second^T, from coordinates [r, s] to weights [a, b]."""
        move = move if self.first is None else self.first @ move
        return move if self.second is None else move @ self.second.T

    def reduce(self, squares: Tensor, *, first: bool) -> Tensor:
        """Second moments [a, a] or [b, b] of one side, in coordinates."""
        basis = self.first if first else self.second
        return squares if basis is None else basis.T @ squares @ basis


@dataclass
class Tape:
    """The last pass through every selected projection: its plan, input and output gradient.

    `widths` are the projections' numbers of inputs and outputs; `bases` the directions in which
    their gradients are wanted.
    """

    names: list[str]
    plans: dict[str, Plan]
    widths: dict[str, tuple[int, int]]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    bases: dict[str, Bases] = field(default_factory=dict)

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """Selected inputs [S, T, in] and output gradients [S, T, out], float32."""
        plan, (x, g) = self.plans[name], self._raw(name)
        x = x if plan.inputs is None else x[..., plan.inputs]
        return x, g if plan.output is None else g[..., plan.output]

    def _raw(self, name: str) -> tuple[Tensor, Tensor]:
        return self.inputs[name].float(), self.gradients[name].float()

    def count(self, name: str) -> int:
        """How many coordinates one tensor's selected weights have."""
        plan, bases = self.plans[name], self.bases.get(name, Bases())
        if plan.row is not None:
            return plan.count
        wide, tall = self.sides(name)
        first, second = (wide, tall) if plan.input_first else (tall, wide)
        first = first if bases.first is None else bases.first.shape[1]
        return first * (second if bases.second is None else bases.second.shape[1])

    def sides(self, name: str) -> tuple[int, int]:
        """How many inputs and outputs of one tensor are selected."""
        plan, (wide, tall) = self.plans[name], self.widths[name]
        wide = wide if plan.inputs is None else len(plan.inputs)
        return wide, tall if plan.output is None else len(plan.output)

    def per_sequence(self, name: str) -> Tensor:
        """Gradients [S, n] of one tensor's coordinates (all weights: as `Slice.take` has them)."""
        if self.plans[name].row is not None:
            pairs = zip(*self._raw(name), strict=True)
            return torch.stack([self.plans[name].gradient(x, g) for x, g in pairs])
        return torch.einsum("sta,stb->sab", *self.coordinates(name)).flatten(1)

    def total(self, name: str) -> Tensor:
        """Gradient [n] of one tensor's coordinates, of all sequences together."""
        if self.plans[name].row is not None:
            return self.plans[name].gradient(*(side.flatten(0, -2) for side in self._raw(name)))
        left, right = (side.flatten(0, -2) for side in self.coordinates(name))
        return (left.T @ right).flatten()

    def coordinates(self, name: str) -> tuple[Tensor, Tensor]:
        """The factors [S, T, a] and [S, T, b] in the tensor's layout, in its bases."""
        plan, bases, (x, g) = self.plans[name], self.bases.get(name, Bases()), self.factors(name)
        left, right = (x, g) if plan.input_first else (g, x)
        left = left if bases.first is None else left @ bases.first.to(left)
        return left, right if bases.second is None else right @ bases.second.to(right)

    def per_prompt(self, owner: Tensor, into: Tensor) -> None:
        """Add gradients to `into` [prompts, D]; `owner` [S] names each sequence's prompt."""
        start = 0
        for name in self.names:
            found = self.per_sequence(name).cpu()
            into[:, start : start + found.shape[1]].index_add_(0, owner, found)
            start += found.shape[1]


def is_recordable(model: nn.Module, slices: Mapping[str, Slice]) -> bool:
    """Whether every slice is of the weight of a plain `Linear` or `Conv1D`."""
    for name in slices:
        module, attribute = submodule_weight(model, name)
        if attribute != "weight":
            return False
        if type(module) not in (nn.Linear, Conv1D):
            return False
    return True


@dataclass
class Moments:
    """Sums of outer products of selected inputs [in, in] and output gradients [out, out]."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    @classmethod
    def of(cls, tape: Tape) -> Moments:
        """Nothing yet."""
        sides = {name: tape.sides(name) for name in tape.names}
        inputs = {name: torch.zeros(wide, wide) for name, (wide, _) in sides.items()}
        return cls(inputs, {name: torch.zeros(tall, tall) for name, (_, tall) in sides.items()})

    def add(self, name: str, x: Tensor, g: Tensor) -> None:
        """Add inputs [N, in] and output gradients [N, out]."""
        self.inputs[name] += (x.T @ x).cpu()
        self.outputs[name] += (g.T @ g).cpu()

    def complete(self) -> None:
        """Add up over all processes."""
        processes.add_up_([*self.inputs.values(), *self.outputs.values()])


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
    """A score of P prompts and its gradients in D selected weights, float32 on the CPU.

    Attributes:
        rows: [P, D]. values: [P].
    """

    rows: Tensor
    values: Tensor


def gradients_of_share(
    loaded: LoadedModel, tape: Tape, batches: list[PromptBatch], trunk: Any
) -> Jacobian:
    """The shares of women m, and the gradients of logit(m)."""

    return _differentiated(loaded, tape, batches, trunk, lambda terms: (_logit(terms), terms.share))


def _logit(terms: Bias) -> Tensor:
    # logit(m) = log P_F - log P_M, and log P_M = log mass + log(1 - m)
    return terms.log_share - torch.log1p(-terms.share.clamp_max(1 - 1e-6))


def factors_of_share(
    loaded: LoadedModel, tape: Tape, batches: list[PromptBatch], trunk: Any
) -> Moments:
    """Second moments of inputs and of output gradients of logit(m), each weighted by the other."""
    found = Moments.of(tape)
    for batch in processes.share(batches):
        _logit(bias_terms(batch, run(loaded, batch, trunk))).sum().backward()
        for name in tape.names:
            x, g = (factor.flatten(0, -2) for factor in tape.factors(name))
            found.add(name, x * g.norm(dim=-1, keepdim=True), g * x.norm(dim=-1, keepdim=True))
    found.complete()
    return found


def gradients_of_mass(
    loaded: LoadedModel, tape: Tape, batches: list[PromptBatch], trunk: Any
) -> Jacobian:
    """The changes of the log gender mass, and the gradients of the log gender mass."""
    return _differentiated(
        loaded, tape, batches, trunk, lambda terms: (terms.log_mass, terms.mass_change)
    )


def _differentiated(
    loaded: LoadedModel,
    tape: Tape,
    batches: list[PromptBatch],
    trunk: Any,
    score: Callable[[Bias], tuple[Tensor, Tensor]],
) -> Jacobian:
    """Differentiate a score (the first of two) and return the second's values.

    Under several processes each takes its share of the batches and all hold the same result.
    """
    counts = [len(batch) for batch in batches]
    rows = torch.zeros(sum(counts), sum(tape.count(name) for name in tape.names))
    values = torch.zeros(len(rows))
    for number in processes.share(range(len(batches))):
        batch, start = batches[number], sum(counts[:number])
        scores, wanted = score(bias_terms(batch, run(loaded, batch, trunk)))
        scores.sum().backward()
        place = slice(start, start + len(batch))
        tape.per_prompt(owners(batch), rows[place])
        values[place] = wanted.detach().float().cpu()
    processes.add_up_([rows, values])
    return Jacobian(rows, values)


def owners(batch: PromptBatch) -> Tensor:
    """Which prompt of the batch each of its sequences belongs to, [S]."""
    owner = torch.zeros(len(batch.input_ids), dtype=torch.int64)
    owner[batch.sequence[batch.site]] = batch.slot[batch.tail] // 4
    return owner
