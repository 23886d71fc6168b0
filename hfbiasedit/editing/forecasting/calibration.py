"""How fast this device is: about a second of what an edit consists of.

Matrix products of 512 rows with the model's own widths in its dtype, forwards and backwards;
products in float32; and rows in bfloat16 that are read, widened and multiplied by a vector.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hfbiasedit.models.architecture import Projection

ROWS = 512
_LONGEST = 2048  # outputs of a matrix that are multiplied: a slow processor shall be done in time
_SHAPES = 3  # those with most weights
_SECONDS = 0.6, 0.2, 0.2  # for the three kinds


@dataclass(frozen=True)
class Rate:
    """Operations (or elements) per processor second and per second of the clock."""

    processor: float
    wall: float


@dataclass(frozen=True)
class Rates:
    """Floating-point operations in the model's dtype and in float32, elements of rows."""

    products: Rate
    wide: Rate
    rows: Rate


def calibrate(items: Sequence[Projection], dtype: torch.dtype, device: torch.device) -> Rates:
    """Measure; results differ from call to call as the machine's other work does."""
    weights: Counter[tuple[int, int]] = Counter()
    for item in items:
        weights[item.rows // item.experts, item.columns] += item.weights
    shapes = weights.most_common(_SHAPES)
    total = sum(count for _, count in shapes)
    spent = [
        (count / total, _products(*shape, dtype, device, _SECONDS[0] / len(shapes)))
        for shape, count in shapes
    ]
    products = Rate(
        1 / sum(share / rate.processor for share, rate in spent),
        1 / sum(share / rate.wall for share, rate in spent),
    )
    side = torch.randn(ROWS, ROWS, device=device)
    wide = _rate(lambda: side @ side, 2.0 * ROWS**3, device, _SECONDS[1])
    kept = torch.zeros(ROWS, 4096, dtype=torch.bfloat16)  # they come from main memory or disk
    vector = torch.zeros(kept.shape[1], device=device)
    rows = _rate(lambda: kept.to(device).float() @ vector, float(kept.numel()), device, _SECONDS[2])
    return Rates(products, wide, rows)


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


def _rate(
    work: Callable[[], torch.Tensor], size: float, device: torch.device, seconds: float
) -> Rate:
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
    work: Callable[[], torch.Tensor], device: torch.device, seconds: float
) -> tuple[float, float]:
    """Processor seconds and seconds of the clock of one `work`, after one to warm up."""

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    finish()
    start, clock, rounds = time.perf_counter(), time.process_time(), 0
    while rounds == 0 or time.perf_counter() - start < seconds:
        work()
        finish()
        rounds += 1
    processor, wall = time.process_time() - clock, time.perf_counter() - start
    return max(processor, 1e-9) / rounds, max(wall, 1e-9) / rounds
