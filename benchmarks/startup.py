"""What commands cost before they work: whole processes, in turns, one thread each.

    python benchmarks/startup.py [--rounds 3]

Processor seconds (user and system) of the audit of the demo model, of the imports that it cannot do
without, and of `--help` and `patch apply --help` beside typer alone. They bear a busy machine, the
clock does not; both are printed, as medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

COMMAND = ["-m", "hfbiasedit"]
WORK = {
    "import typer": ["-c", "import typer"],
    "hfbiasedit --help": [*COMMAND, "--help"],
    "hfbiasedit patch apply --help": [*COMMAND, "patch", "apply", "--help"],
    "import torch": ["-c", "import torch"],
    "import the model's class": ["-c", "from transformers import LlamaForCausalLM"],
    "hfbiasedit audit demo, 1 prompt": [*COMMAND, "audit", "demo", "--limit", "1"],
    "hfbiasedit audit demo": [*COMMAND, "audit", "demo"],
}


def cost(arguments: list[str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def main() -> None:
    """Run everything in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    for _ in range(rounds):
        for name, arguments in WORK.items():
            found[name].append(cost(arguments))
    for name, costs in found.items():
        processor, clock = (statistics.median(part) for part in zip(*costs, strict=True))
        print(f"{name:34s} {processor:6.2f} processor s {clock:6.2f} s")


if __name__ == "__main__":
    main()
