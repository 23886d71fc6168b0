"""Thousands of damaged and malicious patch files against everything that reads them.

python benchmarks/patch_fuzz.py [--cases 5000] [--seed 0]
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.patches.hostile import attack, mutate
from tests.patches.small import make_checkpoint, sample_edits, save_patch


def main() -> None:
    """Run the cases; a violated promise ends the run with the seed that shows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes: collections.Counter[str] = collections.Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base")
        edits = sample_edits(make_checkpoint(base))
        good = save_patch(Path(folder, "good.safetensors"), edits, granularity="row").read_bytes()
        for seed in range(options.seed, options.seed + options.cases):
            try:
                outcomes[attack(mutate(good, seed), base, Path(folder, "room"))] += 1
            except BaseException:
                print(f"seed {seed} breaks a promise")
                raise
    seconds = time.perf_counter() - started
    print(f"{options.cases} cases in {seconds:.0f} s: {dict(outcomes)}; no promise broken")


if __name__ == "__main__":
    main()
