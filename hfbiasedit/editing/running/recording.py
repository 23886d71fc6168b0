"""What passes through projections: their inputs, and the gradients of their outputs.

A loss that adds up over sequences reaches a projection's output at place t of sequence s only
through that sequence, so one backward pass over a batch holds all per-sequence gradients: for a
matrix with input x [S, T, in] and output gradient g [S, T, out] that of sequence s is the sum over
t of g[s, t] x[s, t]^T (of prompts that share a row: over their `paths`). What is made of the two is
up to the receiver, which sees every projection the moment its gradient is complete, so that no two
of them need to be alive at once. Its input is let go then: a caller holds on to what it computed
the loss from, and with it to all hooks, until the next batch has been run. Every expert is a
projection of its own, which is given some of the tokens.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from hfbiasedit.editing.running.activations import beside
from hfbiasedit.editing.running.execution import replaced_forward
from hfbiasedit.editing.running.experts import by_sequence, one_by_one, spread, stacked_names
from hfbiasedit.editing.running.paths import Paths, current
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import submodule_weight
from hfbiasedit.models.exhaustion import trim_heap

Key = tuple[str, int]  # the name of a weight, and which expert's matrix of it (0 of plain ones)


@dataclass(frozen=True)
class Passed:
    """What passed through one matrix, in the model's dtype.

    Attributes:
        name, expert: see `Key`. x: [S, T, in]. g: [S, T, out].
        token: [S, T], which token of its sequence each is, -1 (with zeros in x and g) for none;
            None: all tokens, in order.
        paths: which tokens are whose, where prompts share the row (S = 1).
    """

    name: str
    x: Tensor
    g: Tensor
    expert: int = 0
    token: Tensor | None = None
    paths: Paths | None = None

    @property
    def key(self) -> Key:
        """Which matrix it is."""
        return self.name, self.expert

    def where(self, mask: Tensor) -> Tensor:
        """A mask [S, T] of tokens that are marked in one of the token ids' shape."""
        mask = mask.to(self.x.device)
        if self.token is None:
            return mask
        return mask.gather(1, self.token.clamp_min(0)) & (self.token >= 0)

    def split(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """What was made of x and g, [S, T, a] and [S, T, b], by sequence (or prompt): the sum over
        tokens of their products belongs to one.
        """
        if self.paths is None:
            return left, right
        return self.paths.given(self.token).split(left, right)

    def added_up(self, products: Tensor) -> Tensor:
        """Of products [k, S * T] of single weights and tokens the sums by sequence (or prompt),
        [P, k].
        """
        sequences, tokens = self.x.shape[:2]
        if self.paths is None:
            return products.view(-1, sequences, tokens).sum(2).T
        return self.paths.given(self.token).parts(tokens).to(products) @ products.T


Receiver = Callable[[Passed], None]


@dataclass(frozen=True)
class Layout:
    """How a weight holds its matrices: `experts` of them, [out, in] or (transposed) [in, out]."""

    experts: int
    outputs: int
    inputs: int
    transposed: bool


def layout_of(model: nn.Module, name: str) -> Layout:
    """The layout of the weight of a `Linear` or `Conv1D`, or of stacked experts."""
    module, attribute = submodule_weight(model, name)
    weight = module.get_parameter(attribute)
    stacked = weight.dim() == 3
    transposed = isinstance(module, Conv1D) or (stacked and bool(module.is_transposed))
    first, second = weight.shape[-2:]
    outputs, inputs = (second, first) if transposed else (first, second)
    return Layout(len(weight) if stacked else 1, outputs, inputs, transposed)


def home_of(model: nn.Module, name: str) -> torch.device:
    """Where what is made of a weight's gradients is kept; on the CPU where the weight moves."""
    return beside(model.get_parameter(name).device)


def obstacle(model: nn.Module, names: Iterable[str]) -> str | None:
    """Why what passes through the named weights cannot be recorded, in words; None where it can.

    It can for the weights of plain `Linear` and `Conv1D` modules and for the stacked matrices of
    experts that follow transformers' interface. A weight that several modules share would be
    recorded in one of them, and the head sees chosen places of all sequences in a row
    (`logits_at`).
    """
    holders: Counter[int] = Counter(
        id(weight) for module in model.modules() for weight in module._parameters.values()
    )
    head = model.get_output_embeddings()  # type: ignore[operator]
    for name in names:
        module, attribute = submodule_weight(model, name)
        plain = attribute == "weight" and type(module) in (nn.Linear, Conv1D)
        if module is head:
            return f"{name} is the output head"
        if not plain and attribute not in stacked_names(module):
            return f"{name} is no weight of a Linear, a Conv1D or experts of a known kind"
        if holders[id(module._parameters[attribute])] > 1:
            return f"{name} is shared by several modules"
    return None


@contextlib.contextmanager
def recorded(
    model: nn.Module,
    names: Iterable[str],
    receive: Receiver,
    only: Container[Key] | None = None,
) -> Iterator[None]:
    """Inside the block every backward pass hands on what went through the named weights.

    After it the memory of the passes is the system's again.
    The model has to be called with `input_ids` [S, T] by name. Of stacked experts those in `only`
    are handed on (None: all that are given a token).

    Raises:
        BiasEditError: in a forward pass, where a projection is not given every token.
    """
    recorder = _Recorder(receive, only)
    with contextlib.ExitStack() as stack:
        stack.callback(trim_heap)
        stack.callback(model.register_forward_pre_hook(recorder.begin, with_kwargs=True).remove)
        experts: dict[nn.Module, dict[str, str]] = {}
        for name in names:
            module, attribute = submodule_weight(model, name)
            if module._parameters[attribute].dim() == 3:  # type: ignore[union-attr]
                experts.setdefault(module, {})[attribute] = name
            else:
                stack.callback(module.register_forward_hook(recorder.plain(name)).remove)
        for module, known in experts.items():
            check = _every_token(next(iter(known.values())), lambda: recorder.shape)
            stack.callback(module.register_forward_pre_hook(check, with_kwargs=True).remove)
            given = one_by_one(module, recorder.experts(known))
            stack.enter_context(replaced_forward(module, given))
        yield


class _Recorder:
    """The hooks of one recording, and the row of tokens that is being run."""

    def __init__(self, receive: Receiver, only: Container[Key] | None) -> None:
        self._receive, self._only = receive, only
        # Weights are frozen: something must ask for a gradient, or there would be no backward pass.
        self._spark = torch.zeros((), requires_grad=True)
        self.shape = (0, 0)  # of the token ids of the pass
        self._paths: Paths | None = None

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the model: what it is given."""
        self.shape, self._paths = tuple(kwargs["input_ids"].shape), current()

    def plain(self, name: str) -> Any:
        """A hook behind a plain projection."""

        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return output
            shape, paths = self.shape, self._paths
            held = [_by_sequence(name, args[0].detach(), shape)]

            def hand_on(g: Tensor) -> None:
                self._receive(Passed(name, held.pop(), _by_sequence(name, g, shape), paths=paths))

            return self._asking(output, hand_on)

        return hook

    def experts(self, known: dict[str, str]) -> Any:
        """What `one_by_one` calls for every expert and its tokens; `known` names the weights."""

        def record(own: str, expert: int, tokens: Tensor, x: Tensor, output: Tensor) -> Tensor:
            name = known.get(own)
            if name is None or not (self._only is None or (name, expert) in self._only):
                return output
            place, token = by_sequence(tokens, self.shape[1], self.shape[0])
            held, paths = [x.detach()], self._paths

            def hand_on(g: Tensor) -> None:
                given, asked = (spread(side, place, token.shape) for side in (held.pop(), g))
                self._receive(Passed(name, given, asked, expert, token, paths))

            return self._asking(output, hand_on)

        return record

    def _asking(self, output: Tensor, hand_on: Callable[[Tensor], None]) -> Tensor:
        """The output, whose gradient is handed on once it is complete."""
        if not output.requires_grad:
            output = output + self._spark.to(output)
        output.register_hook(hand_on)
        return output


def _every_token(name: str, shape: Callable[[], tuple[int, int]]) -> Any:
    """A hook before experts that refuses other than [S * T, n]."""

    def check(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        if hidden.dim() != 2 or len(hidden) != shape()[0] * shape()[1]:
            raise _some_tokens(name)

    return check


def _by_sequence(name: str, side: Tensor, shape: tuple[int, int]) -> Tensor:
    """[S, T, n] of what some models hand on as [S * T, n], or with an axis between.

    Raises:
        BiasEditError: the module was given other than every token once.
    """
    sequences, tokens = shape
    if side.numel() != sequences * tokens * side.shape[-1]:
        raise _some_tokens(name)
    return side.reshape(sequences, tokens, -1)


def _some_tokens(name: str) -> BiasEditError:
    return BiasEditError(
        f"{name} is used for some tokens only, so that gradients of single prompts cannot be "
        "told apart; use --saliency contrastive and --solver adam"
    )
