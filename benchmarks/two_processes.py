"""One audit by one process and by two, in turns; one thread each.

    torchrun --nproc-per-node 2 benchmarks/two_processes.py [--model demo] [--rounds 3]

The first process audits alone while the second one waits, then both share the same prompts. What
counts is the process that takes longest. Processor seconds bear a busy machine, the clock does not.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import NamedTuple

import torch

from hfbiasedit import processes
from hfbiasedit.audits.auditor import measure
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.models.loading import load_model


class Cost(NamedTuple):
    """Seconds of the processor and of the clock, and the FB-Score."""

    processor: float
    clock: float
    score: float


def timed(loaded, prompts, samples: int) -> Cost:
    """What an audit costs."""
    processor, clock = time.process_time(), time.perf_counter()
    score = measure(loaded, prompts, samples=samples).fb_score
    return Cost(time.process_time() - processor, time.perf_counter() - clock, score)


def main() -> None:
    """Audit in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--config", default="quick")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(options.model, dtype=options.dtype)
    prompts = load_prompts(options.config, limit=options.limit)
    _ = loaded.identity  # read once, in no measurement
    alone, shared = [], []
    processes.join()
    for _ in range(options.rounds):
        one = timed(loaded, prompts, options.samples) if processes.rank() == 0 else None
        with processes.together():
            one = processes.gathered(one)[0]
            both = processes.gathered(timed(loaded, prompts, options.samples))
        assert {found.score for found in both} == {one.score}, "the result is another"
        alone.append(one)
        shared.append(max(both))
    if processes.rank() == 0:
        for name in ("processor", "clock"):
            one, two = (
                statistics.median(getattr(row, name) for row in rows) for rows in (alone, shared)
            )
            print(f"seconds of the {name}: {one:.2f} by one, {two:.2f} by two: {one / two:.2f}x")


if __name__ == "__main__":
    main()
