"""Inputs and gradients in units in which all weights cost the same, and random projections."""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from torch import Tensor

from hfbiasedit.editing.material.price import Price
from hfbiasedit.editing.running.recording import Passed


def priced(passed: Passed, prices: Mapping[str, Price]) -> tuple[Tensor, Tensor]:
    """x [S, T, in] and g [S, T, out] in units of which all cost the same, float32."""
    inputs, outputs = prices[passed.name].of(passed.expert)
    x, g = passed.x, passed.g
    return x.float() * inputs.rsqrt().to(x.device), g.float() * outputs.rsqrt().to(g.device)


def part_of(stacked: Tensor, expert: int, length: int) -> Tensor:
    """The rows of one expert in what holds `length` of each, one after the other (a view)."""
    return stacked[expert * length : (expert + 1) * length]


def random_projection(height: int, width: int, seed: str) -> Tensor:
    """A random projection: independent normal numbers, inner products kept on average."""
    generator = torch.Generator().manual_seed(random.Random(seed).getrandbits(62))
    return torch.randn(height, width, generator=generator) / width**0.5
