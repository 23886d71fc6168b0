"""How fast this device is: about a second of what an edit consists of.

Passes through one block of the model, forwards and back (where no block can be made: matrix
products of its widths, and what else a pass takes is guessed); products in float32; and rows in
bfloat16 that are read, widened and multiplied by a vector.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hfbiasedit.editing.forecasting.block import one_block
from hfbiasedit.editing.forecasting.widths import Widths
from hfbiasedit.models.architecture import Projection, projections

ROWS = 512
# What a pass takes beside its matrix products (attention, norms, activations), in times of them.
BESIDE = 1.4
_LONGEST = 2048  # outputs of a matrix that are multiplied: a slow processor shall be done in time
_SHAPES = 3  # those with most weights
_SECONDS = 0.3, 0.4, 0.2, 0.2  # for the four kinds


@dataclass(frozen=True)
class Rate:
    """Operations (or elements) per processor second and per second of the clock."""

    processor: float
    wall: float


@dataclass(frozen=True)
class Rates:
    """Operations of passes forwards, forwards and back, and in float32; elements of rows.

    Of passes the operations of their matrix products are counted, and the time of everything.
    """

    forward: Rate
    both: Rate
    wide: Rate
    rows: Rate


def calibrate(
    model: nn.Module, items: Sequence[Projection], dtype: torch.dtype, device: torch.device
) -> Rates:
    """Measure; results differ from call to call as the machine's other work does.

    Of `model` the class and the configuration are used; its weights may be on the meta device.
    """
    forward, both = _passes(model, items, dtype, device)
    side = torch.randn(ROWS, ROWS, device=device)
    wide = _rate(lambda: side @ side, 2.0 * ROWS**3, device, _SECONDS[2])
    kept = torch.zeros(ROWS, 4096, dtype=torch.bfloat16)  # they come from main memory or disk
    vector = torch.zeros(kept.shape[1], device=device)
    rows = _rate(lambda: kept.to(device).float() @ vector, float(kept.numel()), device, _SECONDS[3])
    return Rates(forward, both, wide, rows)


def _passes(
    model: nn.Module, items: Sequence[Projection], dtype: torch.dtype, device: torch.device
) -> tuple[Rate, Rate]:
    block = one_block(model, dtype, device)
    if block is None:
        guess = _guessed(items, dtype, device)
        return guess, guess
    size = 2.0 * block.tokens * Widths.of(block.model, projections(block.model)).weights
    forward = _rate(block.forward, size, device, _SECONDS[0])
    return forward, _rate(block.both, 2 * size, device, _SECONDS[1])


def _guessed(items: Sequence[Projection], dtype: torch.dtype, device: torch.device) -> Rate:
    """By products of the widths that most weights have."""
    weights: Counter[tuple[int, int]] = Counter()
    for item in items:
        weights[item.rows // item.experts, item.columns] += item.weights
    shapes = weights.most_common(_SHAPES)
    total = sum(count for _, count in shapes)
    seconds = (_SECONDS[0] + _SECONDS[1]) / len(shapes)
    spent = [(count / total, _products(*shape, dtype, device, seconds)) for shape, count in shapes]
    return Rate(
        1 / (BESIDE * sum(share / rate.processor for share, rate in spent)),
        1 / (BESIDE * sum(share / rate.wall for share, rate in spent)),
    )


def _products(
    outputs: int, inputs: int, dtype: torch.dtype, device: torch.device, seconds: float
) -> Rate:
    outputs = min(outputs, _LONGEST)
    weight = torch.randn(outputs, inputs, device=device).to(dtype)
    x = torch.randn(ROWS, inputs, device=device).to(dtype)
    g = torch.randn(ROWS, outputs, device=device).to(dtype)

    def both() -> torch.Tensor:
        torch.nn.functional.linear(x, weight)
        return g @ weight

    return _rate(both, 4.0 * ROWS * outputs * inputs, device, seconds)


def _rate(work: Callable[[], object], size: float, device: torch.device, seconds: float) -> Rate:
    """Repeat `work`, of `size` operations, for so long.

    Processor time is that of one thread: several that wait for each other, on a machine with other
    work, spend theirs on waiting. The clock is read with all of them.
    """
    if device.type != "cpu":
        wall = _repeated(work, device, seconds)[1]
        return Rate(size / wall, size / wall)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        processor = _repeated(work, device, seconds / 2)[0]
    finally:
        torch.set_num_threads(threads)
    return Rate(size / processor, size / _repeated(work, device, seconds / 2)[1])


def _repeated(
    work: Callable[[], object], device: torch.device, seconds: float
) -> tuple[float, float]:
    """Processor seconds and seconds of the clock of one `work`.

    One goes before to warm up, and is the measurement where it took long enough.
    """

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(least: float) -> tuple[float, float]:
        start, clock, rounds = time.perf_counter(), time.process_time(), 0
        while rounds == 0 or time.perf_counter() - start < least:
            work()
            finish()
            rounds += 1
        processor, wall = time.process_time() - clock, time.perf_counter() - start
        return max(processor, 1e-9) / rounds, max(wall, 1e-9) / rounds

    first = timed(0.0)
    return first if first[1] >= seconds else timed(seconds)
