"""Float32 deltas of selected weights, and the rounded weights they stand for in the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from hfbiasedit.editing.weights.partial import attached
from hfbiasedit.editing.weights.selection import Selection


class Deltas:
    """What is added to the selected weights of a model.

    The model always holds `base + delta` rounded to the checkpoint's dtype, so that every loss and
    every score is that of the model as it would be stored; gradients pass the rounding unchanged
    and accumulate in `values`. Use as a context manager: the base weights come back at the end.
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        stored: Mapping[str, torch.dtype] | None = None,
    ) -> None:
        """Start at zero; `stored` names dtypes on disk that are narrower than the model's."""
        parameters = dict(model.named_parameters())
        self.model, self.slices = model, selection.slices
        self.parameters = {name: parameters[name] for name in self.slices}
        self.stored = dict(stored or {})
        self.base: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        for name, part in self.slices.items():
            base = part.take(self.parameters[name].detach())
            wide = torch.float64 if base.dtype == torch.float64 else torch.float32
            self.base[name] = base
            self.values[name] = torch.zeros_like(base, dtype=wide, requires_grad=True)

    def __enter__(self) -> Deltas:
        return self

    def __exit__(self, *reason: object) -> None:
        self.restore()

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Inside the block, backward passes fill the gradients of `values`."""
        with attached(self.model, self.slices, self.values):
            yield

    @torch.no_grad()
    def rounded(self, name: str, scale: float = 1.0) -> Tensor:
        """The slice of one tensor as it would be stored, in the checkpoint's dtype."""
        base, delta = self.base[name], self.values[name].detach()
        return (base.to(delta.dtype) + scale * delta).to(self.stored.get(name, base.dtype))

    @torch.no_grad()
    def write(self, scale: float = 1.0) -> None:
        """Put the rounded edited weights into the model; only the selected slices are touched."""
        for name, part in self.slices.items():
            part.put_(self.parameters[name].data, self.rounded(name, scale))

    @torch.no_grad()
    def restore(self) -> None:
        """Put the base weights back, bit for bit."""
        for name, part in self.slices.items():
            part.put_(self.parameters[name].data, self.base[name])

    @torch.no_grad()
    def state(self, scale: float = 1.0) -> dict[str, Tensor]:
        """A copy of the deltas, scaled."""
        return {name: scale * value.detach() for name, value in self.values.items()}

    @torch.no_grad()
    def set_(self, state: Mapping[str, Tensor]) -> None:
        """Take deltas from `state` and write the weights."""
        for name, value in self.values.items():
            value.copy_(state[name])
        self.write()

    @torch.no_grad()
    def changed(self) -> int:
        """How many stored weights differ from the base."""
        return sum(int((self.rounded(name) != self.base[name]).sum()) for name in self.slices)
