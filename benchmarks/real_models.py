#!/usr/bin/env python3
"""Edits of models beside one another: held-out FB-Scores, what they cost, what coding keeps.

    python benchmarks/real_models.py OUT MODEL... --granularity row neuron --seeds 0 1

Every edit is the command `hfbiasedit edit`, its run directory OUT/NAME-LEVEL-SEED; one that is
there
already is not made again, so that a run that was stopped goes on. Perplexity is measured on the
shipped corpus and on files of the standard library of the Python that runs this; with `--problems`
also pass@1 on problems in the layout of HumanEval (greedy; runs what the model wrote). The table
goes to standard output as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

AXES = ("test_modifiers", "test_templates", "test_professions")


def command(*words: str) -> tuple[float, float, int]:
    """Run the command line; returns (processor seconds, wall seconds, peak bytes of children)."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "hfbiasedit", *words], check=True, stdout=sys.stderr)
    after = os.times()
    processor = after.children_user + after.children_system
    processor -= before.children_user + before.children_system
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return processor, time.perf_counter() - start, peak


def once(path: Path, *words: str) -> dict:
    """A measurement kept as JSON beside what it made: processor and wall seconds, peak memory."""
    kept = path.with_name(path.name + ".cost.json")
    if not kept.exists():
        processor, wall, peak = command(*words)
        kept.write_text(json.dumps({"processor": processor, "wall": wall, "peak": peak}))
    return json.loads(kept.read_text())


def standard_library(folder: Path, count: int) -> Path:
    """A folder with files of the standard library, drawn by a fixed seed."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skipped = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}
    files = [p for p in sorted(root.rglob("*.py")) if not skipped & set(p.relative_to(root).parts)]
    for path in random.Random(0).sample(files, min(count, len(files))):
        name = "-".join(path.relative_to(root).parts)
        (folder / name).write_bytes(path.read_bytes())
    return folder


def abilities(model: str, run: Path, chosen: argparse.Namespace) -> None:
    """Perplexity on two texts, and pass@1 where there are problems."""
    common = ("ability", model, "--patch", str(run / "patch.safetensors"))
    corpus, library = (run.with_name(f"{run.name}.{n}.json") for n in ("corpus", "stdlib"))
    if not corpus.exists():
        command(*common, "--tasks", "perplexity", "--out", str(corpus))
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            text = str(standard_library(Path(folder), chosen.files))
            command(*common, "--tasks", "perplexity", "--text", text, "--out", str(library))
    solved = run.with_name(f"{run.name}.humaneval.json")
    if chosen.problems and not solved.exists():
        some = ("--limit", str(chosen.limit)) if chosen.limit else ()
        words = ("--tasks", "humaneval", "--problems", chosen.problems, "--allow-code-execution")
        tokens = ("--max-new-tokens", "320")
        command(*common, *words, *tokens, *some, "--out", str(solved))


def row(model: str, level: str, seed: int, run: Path, audit: dict, cost: dict) -> str:
    """One line of the table."""
    edit = json.loads((run / "edit.json").read_text())
    cells = [Path(model).name, level, str(seed), f"{edit['selection']['weights']:,}"]
    for axis in AXES:
        split = edit["splits"][axis]
        low, high = split["difference_ci95"]
        shift = 100 * (split["fb_shift"] / split["fb_before"] - 1)
        cells.append(
            f"{split['fb_before']:.1f} → {split['fb_after']:.1f} "
            f"({100 * split['relative_change']:+.0f} %, {low:+.1f} to {high:+.1f}; "
            f"shift {shift:+.0f} %)"
        )
    masses = [edit["splits"]["test"][f"gender_mass_{when}"] for when in ("before", "after")]
    cells += [f"{masses[0]:.3f} → {masses[1]:.3f}", f"{edit['kl']['mean']:.4f}"]
    for name in ("corpus", "stdlib"):
        path = run.with_name(f"{run.name}.{name}.json")
        change = json.loads(path.read_text())["perplexity"]["relative_change"]
        cells.append(f"{100 * change:+.2f} %")
    cells.append(_solved(run))
    cells += [f"{cost['processor']:.0f}", f"{cost['processor'] / audit['processor']:.1f}"]
    cells.append(f"{edit['peak_memory_bytes'] / 2**30:.1f}")
    return "| " + " | ".join(cells) + " |"


def _solved(run: Path) -> str:
    path = run.with_name(f"{run.name}.humaneval.json")
    if not path.exists():
        return ""
    found = json.loads(path.read_text())["humaneval"]
    return " → ".join(f"{100 * found[side]['pass@1']:.1f} %" for side in ("before", "after"))


HEAD = (
    "model", "level", "seed", "weights", "unseen modifiers", "unseen templates",
    "unseen professions", "gender mass", "KL", "perplexity, corpus", "perplexity, standard library",
    "pass@1", "processor s", "times `audit`", "peak GiB",
)  # fmt: skip


def main() -> None:
    """Make what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--granularity", nargs="+", default=["row"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--problems")
    parser.add_argument("--limit", type=int, help="only the first problems")
    parser.add_argument("--files", type=int, default=200, help="files of the standard library")
    parser.add_argument("--edit-options", default="", help="more words for `edit`")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for model in chosen.models:
        base = chosen.out / Path(model).name
        audit = once(base, "audit", model, "--out", str(base))
        for level in chosen.granularity:
            for seed in chosen.seeds:
                run = chosen.out / f"{Path(model).name}-{level}-{seed}"
                words = ("--granularity", level, "--seed", str(seed), *chosen.edit_options.split())
                cost = once(run, "edit", model, *words, "--out", str(run))
                abilities(model, run, chosen)
                print(row(model, level, seed, run, audit, cost), flush=True)


if __name__ == "__main__":
    main()
