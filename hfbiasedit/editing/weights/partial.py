"""Gradients of selected weights only.

The weights in the model are the edited ones already; what is missing is a gradient for the float32
deltas behind them. A `Linear` or `Conv1D` with selected rows, columns or entries gets a forward
pass that computes the same output and a backward pass that forms the gradient of the selection and
of the input, nothing else. Any other parameter (experts, norms, embeddings) is replaced for the
time of a call by an alias whose gradient is cut down to the selection as soon as it appears.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.editing.running.execution import replaced_forward
from hfbiasedit.editing.weights.slices import ENTRIES, WHOLE, Slice
from hfbiasedit.models.architecture import submodule_weight

_SAMPLED_COST = 128  # a sampled product costs about this many multiply-adds of a matrix product


@dataclass(frozen=True)
class Plan:
    """How the gradient of one matrix's selection is formed from input x and output gradient g.

    `output` and `inputs` are the selected output and input units; None means all of them. For
    entries, `row` and `column` point into those two lists, one pair per entry; where entries are
    few, `pattern` is the matrix of zeros at their places, in compressed rows.
    """

    transposed: bool
    output: Tensor | None = None
    inputs: Tensor | None = None
    row: Tensor | None = None
    column: Tensor | None = None
    pattern: Tensor | None = None
    count: int = 0

    @property
    def input_first(self) -> bool:
        """Whether the layout of `Slice.take` is [in, out] rather than [out, in]."""
        return self.inputs is not None or (self.output is None and self.transposed)

    def gradient(self, x: Tensor, g: Tensor) -> Tensor:
        """The gradient in the layout of `Slice.take`, from x [T, in] and g [T, out]."""
        if self.pattern is not None:
            return self._sampled(self.pattern, x, g)
        x = x if self.inputs is None else x[:, self.inputs]
        g = g if self.output is None else g[:, self.output]
        if self.row is not None and self.column is not None:
            return (g.T @ x)[self.row, self.column]
        return x.T @ g if self.input_first else g.T @ x

    def _sampled(self, pattern: Tensor, x: Tensor, g: Tensor) -> Tensor:
        """The places of the pattern in the product alone, in float32 or better."""
        left, right = (x, g) if self.transposed else (g, x)
        dtype = torch.promote_types(g.dtype, torch.float32)
        pattern, left, right = pattern.to(dtype), left.to(dtype), right.to(dtype)
        return torch.sparse.sampled_addmm(pattern, left.T, right, beta=0).values()


def plan_of(part: Slice, transposed: bool, device: torch.device) -> Plan:
    """How the gradient of a slice of a `Linear` (or, transposed, a `Conv1D`) weight is formed."""
    if part.kind == WHOLE or part.index is None:
        return Plan(transposed, count=part.count)
    index = part.index.to(device)
    if part.kind == ENTRIES:
        first, second = index // part.shape[1], index % part.shape[1]
        row, column = (second, first) if transposed else (first, second)
        output, row = torch.unique(row, return_inverse=True)
        inputs, column = torch.unique(column, return_inverse=True)
        return Plan(transposed, output, inputs, row, column, _pattern(part, index), part.count)
    if part.axis == (1 if transposed else 0):
        return Plan(transposed, output=index, count=part.count)
    return Plan(transposed, inputs=index, count=part.count)


def _pattern(part: Slice, index: Tensor) -> Tensor | None:
    """Zeros at the entries of a matrix; None where a whole product is cheaper or the only way."""
    height, width = part.shape
    if height * width < _SAMPLED_COST * len(index) or index.device.type not in ("cpu", "cuda"):
        return None
    counts = torch.bincount(index // width, minlength=height)
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    zeros = torch.zeros(len(index), device=index.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            ends, index % width, zeros, (height, width), check_invariants=True
        )


class _SelectedProjection(torch.autograd.Function):
    """x W + b with the gradient of selected weights only (W itself is frozen)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor | None, plan: Plan
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.plan, ctx.dtype = plan, delta.dtype
        if not plan.transposed:
            return functional.linear(x, weight, bias)
        flat = x.reshape(-1, x.shape[-1])
        out = flat @ weight if bias is None else torch.addmm(bias, flat, weight)
        return out.view(*x.shape[:-1], weight.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        g = gradients[0]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = g @ (weight.T if ctx.plan.transposed else weight)
        flat_x, flat_g = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        grad_delta = ctx.plan.gradient(flat_x, flat_g).to(ctx.dtype)
        # A bias takes a gradient only where it is selected itself (it is an alias then).
        grad_bias = flat_g.sum(0) if ctx.needs_input_grad[3] else None
        return grad_x, grad_delta, None, grad_bias, None


class _Alias(torch.autograd.Function):
    """The parameter itself; its gradient goes, cut down to the slice, to the delta."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, parameter: Tensor, part: Slice) -> Tensor:
        ctx.part, ctx.dtype = part, delta.dtype
        return parameter.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.part.take(gradients[0]).to(ctx.dtype), None, None


@contextlib.contextmanager
def attached(
    model: nn.Module, slices: Mapping[str, Slice], deltas: Mapping[str, Tensor]
) -> Iterator[None]:
    """Inside the block, backward passes through `model` fill the gradients of `deltas`."""
    with contextlib.ExitStack() as stack:
        for name, part in slices.items():
            module, attribute = submodule_weight(model, name)
            plain = type(module) in (nn.Linear, Conv1D) and attribute == "weight"
            if plain and not _shared(model, module.weight):  # type: ignore[arg-type]
                forward = _selected_forward(module, part, deltas[name])
                stack.enter_context(replaced_forward(module, forward))
                continue
            for owner, owned in _owners(model, getattr(module, attribute)):
                stack.enter_context(_shadowed(owner, owned, part, deltas[name]))
        yield


def _selected_forward(module: nn.Module, part: Slice, delta: Tensor) -> Callable[[Tensor], Tensor]:
    transposed = isinstance(module, Conv1D)
    plan = plan_of(part, transposed, module.weight.device)  # type: ignore[arg-type]

    def forward(x: Tensor) -> Tensor:
        return _SelectedProjection.apply(x, delta, module.weight, module.bias, plan)

    return forward


@contextlib.contextmanager
def _shadowed(module: nn.Module, attribute: str, part: Slice, delta: Tensor) -> Iterator[None]:
    """During calls of `module`, its attribute is an alias that sends gradients to `delta`."""

    # An entry of __dict__ is found before the registered parameter, which stays where it is.
    def enter(module: nn.Module, args: Any) -> None:
        parameter = module._parameters[attribute]
        module.__dict__[attribute] = _Alias.apply(delta, parameter, part)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        module.__dict__.pop(attribute, None)

    handles = [
        module.register_forward_pre_hook(enter),
        module.register_forward_hook(leave, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        module.__dict__.pop(attribute, None)


def _owners(model: nn.Module, parameter: Tensor) -> list[tuple[nn.Module, str]]:
    """Every (module, attribute) that holds this very parameter: more than one when it is tied."""
    return [
        (module, name)
        for module in model.modules()
        for name, own in module._parameters.items()
        if own is parameter
    ]


def _shared(model: nn.Module, parameter: Tensor) -> bool:
    return len(_owners(model, parameter)) > 1
