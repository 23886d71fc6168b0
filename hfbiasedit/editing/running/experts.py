"""Experts one by one: the products of stacked matrices, with the tokens that each is given.

transformers runs the experts of all its mixture models through one interface: a module of class
`use_experts_implementation` holds its matrices in stacked parameters, says how they are laid out,
and is called with hidden states, the experts chosen for every token and their weights. What an
implementation of that interface is given is enough to run the experts here, as slowly as its own
`eager` one does, and see what passes through every single matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# attribute of the matrices, expert, which tokens [n], their inputs [n, in], outputs [n, out]
Watch = Callable[[str, int, Tensor, Tensor, Tensor], Tensor]

_SAID = ("num_experts", "has_gate", "has_bias", "has_post_expert_norm", "is_transposed")


def stacked_names(module: nn.Module) -> tuple[str, ...]:
    """The stacked matrices of a module that follows the interface, in order; else none.

    Experts that are spread over devices by expert parallelism see other numbers and have none.
    """
    said: Any = module
    known = all(hasattr(module, name) for name in _SAID) and hasattr(module, "_apply_gate")
    if not known or getattr(module, "_is_expert_parallel", False):
        return ()
    names = ("gate_up_proj" if said.has_gate else "up_proj", "down_proj")
    held = [module._parameters.get(name) for name in names]
    return names if all(part is not None and part.dim() == 3 for part in held) else ()


def one_by_one(module: nn.Module, watch: Watch) -> Callable[..., Tensor]:
    """A forward pass of the module that hands every product to `watch` and goes on with its answer.

    Without gradients the module's own forward pass runs, which is faster.
    """
    said: Any = module
    # accelerate's device hooks stand around this one; see `replaced_forward`.
    own = said._old_forward if hasattr(module, "_hf_hook") else module.forward
    into, out_of = stacked_names(module)

    def product(name: str, expert: int, tokens: Tensor, x: Tensor) -> Tensor:
        weight = getattr(module, name)[expert]
        y = x @ weight if said.is_transposed else nn.functional.linear(x, weight)
        if said.has_bias:
            y = y + getattr(module, f"{name}_bias")[expert]
        return watch(name, expert, tokens, x, y)

    def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return own(hidden_states, top_k_index, top_k_weights)
        total = torch.zeros_like(hidden_states)
        for expert in torch.unique(top_k_index).tolist():
            tokens, place = (top_k_index == expert).nonzero(as_tuple=True)
            state = product(into, expert, tokens, hidden_states[tokens])
            state = said._apply_gate(state) if said.has_gate else said.act_fn(state)
            state = product(out_of, expert, tokens, state)
            if said.has_post_expert_norm:
                state = said.post_expert_norm(state)
            state = state * top_k_weights[tokens, place, None]
            total.index_add_(0, tokens, state.to(total.dtype))
        return total

    return forward


def by_sequence(tokens: Tensor, length: int, sequences: int) -> tuple[Tensor, Tensor]:
    """Where tokens [n] of a batch [S, T], numbered through, stand when they are sorted by sequence.

    Returns:
        place: [n], in the flattened [S, T']; T' is the most that one sequence has.
        token: [S, T'], which token of its sequence stands there, -1 where there is none.
    """
    sequence = tokens // length
    counts = torch.bincount(sequence, minlength=sequences)
    before = counts.cumsum(0) - counts
    width = int(counts.max())
    place = sequence * width + torch.arange(len(tokens), device=tokens.device) - before[sequence]
    token = tokens.new_full((sequences * width,), -1)
    token[place] = tokens % length
    return place, token.view(sequences, width)


def spread(side: Tensor, place: Tensor, shape: torch.Size) -> Tensor:
    """[S, T', m] of vectors [n, m] at their places, zero elsewhere; `shape` is [S, T']."""
    wide = side.new_zeros(shape.numel(), side.shape[-1])
    return wide.index_copy(0, place, side).view(*shape, -1)
