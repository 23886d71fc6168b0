"""Mutants of the modules that hold formulas, splits and patches, and how many the tests kill.

    pip install -c constraints.txt -e ".[test,mutation]"
    python benchmarks/mutants.py                            # all modules: what has no result yet
    python benchmarks/mutants.py hfbiasedit.patches.twins   # one module, again

mutmut changes one thing at a time (a sign, a number, an argument, a condition) and runs the tests
that reach it; its settings, with the modules and the tests, are in `pyproject.toml`. Mutants and
results stay in `mutants/`, so that a run which was interrupted goes on. `mutmut show NAME` says
what a survivor changes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parents[1]
FOUND = ROOT / "mutants"
KILLED = ("killed", "timeout", "segfault", "caught by type check")
OPEN = ("not checked", "check was interrupted by user")


def results() -> dict[str, dict[str, str]]:
    """What became of each mutant that was run, by module."""
    found = {}
    for file in sorted(FOUND.glob("hfbiasedit/**/*.py.meta")):
        codes = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        statuses = {name: status_by_exit_code[code] for name, code in codes.items()}
        run = {name: status for name, status in statuses.items() if status not in OPEN}
        if run:
            found[str(file.relative_to(FOUND)).removesuffix(".meta")] = run
    return found


def line(module: str, statuses: list[str]) -> str:
    """One line of the table; what runs out of time is killed too."""
    counts = Counter(statuses)
    killed = sum(counts[status] for status in KILLED)
    cells = (
        module,
        len(statuses),
        killed - counts["timeout"],
        counts["timeout"],
        counts["survived"],
        counts["no tests"],
        f"{100 * killed / len(statuses):.0f} %",
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    """Run mutmut, then print the table and the names of those that live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="dotted names; default: what is left of all")
    parser.add_argument("--table", action="store_true", help="only print what is known")
    given = parser.parse_args()
    if not given.table:
        names = [f"{module}.*" for module in given.modules]
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    found = results()
    print("| module | mutants | killed | timed out | survived | not reached | score |")
    print("|---|---|---|---|---|---|---|")
    for module, statuses in found.items():
        print(line(f"`{module}`", list(statuses.values())))
    print(line("all", [status for part in found.values() for status in part.values()]))
    for part in found.values():
        for name, status in part.items():
            if status not in KILLED:
                print(f"{status}: {name}", file=sys.stderr)


if __name__ == "__main__":
    main()
