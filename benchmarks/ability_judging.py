"""How long the isolation takes: judge every reference solution of a problems file.

    python benchmarks/ability_judging.py HumanEval.jsonl.gz --workers 2

Prints the verdicts, the seconds, and the ratio to running the same programs unguarded, each in one
fresh interpreter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.problems.humaneval import judge_samples
from hfbiasedit.abilities.problems.reading import Problem, canonical_samples, load_problems


def unguarded(problem: Problem) -> bool:
    """Whether the reference solution passes in one plain child."""
    program = (
        f"{problem.prompt}{problem.canonical_solution}\n{problem.test}\n"
        f"if 'check' in globals(): check({problem.entry_point})\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True)
    return done.returncode == 0


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    problems = load_problems(options.problems).problems
    config = AbilityConfig(workers=options.workers)
    started = time.perf_counter()
    judged = judge_samples(problems, canonical_samples(problems), config)
    guarded = time.perf_counter() - started
    started = time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        plain = sum(pool.map(unguarded, problems))
    bare = time.perf_counter() - started
    verdicts = dict(Counter(judgement.verdict for judgement in judged))
    print(f"{len(problems)} problems, {options.workers} workers, guards {judged[0].guards}")
    print(f"judged:    {guarded:6.1f} s  {verdicts}")
    print(f"unguarded: {bare:6.1f} s  {plain} passed")
    print(f"ratio:     {guarded / bare:6.2f}")
    for problem, judgement in zip(problems, judged, strict=True):
        if judgement.verdict != "passed":
            print(f"{problem.task_id}: {judgement.verdict} ({judgement.detail})")


if __name__ == "__main__":
    main()
