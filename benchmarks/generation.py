"""What completions of programming problems cost, in processor seconds of one thread.

    python benchmarks/generation.py HumanEval.jsonl.gz [--model demo] [--every 10] [--tokens 320]

Reading prompts is counted apart from writing. Beside them stands the least that the steps could
take: reading all weights once per step, at the rate at which this processor sums up a large tensor.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from hfbiasedit.abilities.generating import decoding
from hfbiasedit.abilities.generating.generation import (
    FUNCTION_STOPS,
    Request,
    Sampling,
    complete,
)
from hfbiasedit.abilities.problems.reading import load_problems
from hfbiasedit.models.loading import load_model


def counted(name: str, spent: dict[str, float]) -> None:
    """Add up the processor seconds of a method of a batch."""
    usual = getattr(decoding._Batch, name)

    def run(self, *given):
        start = time.process_time()
        try:
            return usual(self, *given)
        finally:
            spent[name] += time.process_time() - start
            spent[f"calls of {name}"] += 1

    setattr(decoding._Batch, name, run)


def reading_rate() -> float:
    """Bytes per second of one thread."""
    large = torch.ones(1 << 27)
    large.sum()
    start = time.process_time()
    large.sum()
    return large.nbytes / (time.process_time() - start)


def main() -> None:
    """Complete problems and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", type=Path)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--every", type=int, default=10, help="take each so many-th problem")
    parser.add_argument("--tokens", type=int, default=320, help="of a completion at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_model(options.model)
    found = load_problems(options.problems).problems[:: options.every]
    requests = [Request(problem.task_id, problem.prompt) for problem in found]
    spent = dict.fromkeys(("add", "step", "calls of add", "calls of step"), 0.0)
    for name in ("add", "step"):
        counted(name, spent)
    start = time.process_time()
    written = complete(loaded, requests, Sampling(options.tokens, FUNCTION_STOPS))
    total = time.process_time() - start
    encode = loaded.tokenizer
    prompts, new = (
        sum(len(encode(text)["input_ids"]) for text in texts)
        for texts in ([r.prompt for r in requests], [one.text for one in written])
    )
    weights = sum(parameter.nbytes for parameter in loaded.model.parameters())
    least = spent["calls of step"] * weights / reading_rate()
    print(f"{len(requests)} problems, {total:.1f} s of the processor, {loaded.dtype}")
    print(f"reading {prompts} tokens: {spent['add']:.1f} s")
    print(
        f"writing {new} tokens in {spent['calls of step']:.0f} steps: {spent['step']:.1f} s; "
        f"reading the weights as often would take {least:.1f} s"
    )


if __name__ == "__main__":
    main()
