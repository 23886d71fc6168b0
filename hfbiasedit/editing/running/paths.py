"""Which tokens of a row belong to which prompt, where many prompts are one tree of tokens.

A token that several prompts begin with stands in the row once, and the gradient that reaches it is
the sum of theirs. Each is given an equal part: what prompts have in common acts on all of them
nearly alike, and their sum is exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Paths:
    """The tokens of P prompts in one row [1, T].

    Attributes:
        place: [P, L], where each prompt's tokens stand, ascending; padded with 0.
        part: [P, L], 1 / (number of prompts that the token belongs to); 0 for padding.
    """

    place: Tensor
    part: Tensor

    @classmethod
    def of(cls, inside: Tensor) -> Paths:
        """From a mask [P, T] of which token belongs to which prompt."""
        counts = inside.sum(1)
        order = torch.argsort((~inside).to(torch.int8), dim=1, stable=True)
        place = order[:, : int(counts.max())]
        real = torch.arange(place.shape[1]) < counts[:, None]
        shared = inside.sum(0).clamp_min(1)
        return cls(place * real, real / shared[place])

    def given(self, token: Tensor | None) -> Paths:
        """The same in a row [1, T'] that holds only some tokens: `token` [1, T'], -1 for none."""
        if token is None:
            return self
        length = int(max(int(self.place.max()), int(token.max()))) + 1
        where = torch.full((length,), -1)
        known = (token[0] >= 0).nonzero()[:, 0].cpu()
        where[token[0].cpu()[known]] = known
        place = where[self.place]
        return Paths(place.clamp_min(0), self.part * (place >= 0))

    def parts(self, length: int) -> Tensor:
        """[P, length]: how much of each of the row's tokens counts for each prompt."""
        return torch.zeros(len(self.place), length).scatter_add_(1, self.place, self.part)

    def split(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """[1, T, a] and [1, T, b] by prompt: [P, L, a] and [P, L, b], whose products are parts."""
        place, part = self.place.to(left.device), self.part.to(left)
        return left[0][place] * part[:, :, None], right[0][place]


_CURRENT: ContextVar[Paths | None] = ContextVar("the paths of the row that is run", default=None)


def current() -> Paths | None:
    """The paths of the row that is being run; None where sequences stand by themselves."""
    return _CURRENT.get()


@contextlib.contextmanager
def following(paths: Paths) -> Iterator[None]:
    """Inside the block a forward pass is one of such a row."""
    token = _CURRENT.set(paths)
    try:
        yield
    finally:
        _CURRENT.reset(token)
