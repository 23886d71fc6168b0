"""Time and memory of an edit against full fine-tuning: same objective and prompts.

    python benchmarks/edit_cost.py --hidden 768 --layers 12 --steps 4
    python benchmarks/edit_cost.py --model DIR --steps 32 --batch 32 --only newton

A random Llama of about 100M parameters (weights do not matter for cost), or a model of yours. Every
level runs in a process of its own, so that peak memory is its own; extra memory is what a run needs
beyond a loaded model. Prints ratios to full fine-tuning (all weights, Adam on float32 deltas): of
Adam with the same batches and steps, and of one round of the default solver, which learns from
every prompt once. Where to edit is drawn, and the time of finding out is not in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FULL = ("full", "adam")
COMPARED = (FULL, ("row", "adam"), ("neuron", "adam"), ("row", "newton"), ("neuron", "newton"))


def build(folder: Path, hidden: int, layers: int) -> None:
    """Save a random model with the tokenizer of the demo model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from hfbiasedit.resources import demo_model_path

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(demo_model_path())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=int(8 * hidden / 3),
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(
    folder: Path, level: str, solver: str, steps: int, batch: int, passes: int
) -> dict[str, float]:
    """Seconds and extra memory of one level and solver, in this process."""
    import random

    import torch

    from hfbiasedit.editing import attempt as attempts
    from hfbiasedit.editing.config import EditConfig
    from hfbiasedit.editing.judging.outcome import peak_memory
    from hfbiasedit.editing.locating.drawn import random_ranking
    from hfbiasedit.editing.locating.locator import middle_blocks
    from hfbiasedit.editing.material import gathering
    from hfbiasedit.editing.material.forward import remember_original
    from hfbiasedit.editing.material.prompts import Prompts, gather_prompts, measure_original
    from hfbiasedit.editing.material.windows import prepare_windows, split_windows
    from hfbiasedit.editing.selecting.allowance import budgets_of
    from hfbiasedit.editing.selecting.choosing import select
    from hfbiasedit.editing.solving import bench, gauss_newton
    from hfbiasedit.editing.solving.solver import solver_of
    from hfbiasedit.editing.solving.task import Task
    from hfbiasedit.editing.weights.deltas import Deltas
    from hfbiasedit.levels import LEVELS
    from hfbiasedit.models.architecture import projections
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.texts.anchor import load_anchor

    random.seed(0)
    torch.set_num_threads(1)
    loaded = load_model(folder)
    config = EditConfig(
        granularity=level, steps=steps, batch_size=batch, patience=99, max_kl=1e9, solver=solver
    )
    bench.ROUNDS = gauss_newton.ROUNDS = 1
    prompts: Prompts = gather_prompts(loaded, config, "edit", batch * steps // passes)
    measure_original(loaded, prompts)
    windows = prepare_windows(loaded, load_anchor(), 32, 0)
    before = peak_memory()
    # Which rows does not change the cost; those of the upper half of the blocks, as by default.
    ranking = random_ranking(projections(loaded.model), 0, {"seed": 0})
    blocks = None if LEVELS[level].everything else middle_blocks(ranking.blocks)
    include = ("embeddings", "head", "norms", "biases") if LEVELS[level].everything else ()
    budget = budgets_of(level, LEVELS[level].budget)[0]  # of `auto` the widest, the dearest
    selection = select(loaded.model, ranking, level, budget, blocks=blocks, include=include)
    start = time.perf_counter()
    processor = time.process_time()
    material = gathering.Material(prompts, list(range(len(prompts))), [0], load_anchor(), windows)
    trunk = attempts.trunk_for(loaded, selection, material)
    keep, watch = split_windows(remember_original(loaded, windows, trunk))
    task = Task(loaded, trunk, prompts, material.train, material.dev, keep, watch, config)
    with Deltas(loaded.model, selection) as deltas:
        solver_of(solver).solve(task, deltas)
    return {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "extra_bytes": peak_memory() - before,
        "weights": selection.weights,
        "parameters": loaded.parameters,
    }


def main() -> None:
    """Build the model, measure each level in a child process, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--passes", type=int, default=1, help="over the prompts")
    parser.add_argument("--only", choices=("adam", "newton"), help="of the solvers of edits")
    parser.add_argument("--model", type=Path, help="a local directory (default: a random model)")
    parser.add_argument("--level", help=argparse.SUPPRESS)
    options = parser.parse_args()
    numbers = (options.steps, options.batch, options.passes)
    if options.level:
        print(json.dumps(measure(options.model, options.level, options.only, *numbers)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.model or Path(name) / "model"
        if options.model is None:
            build(folder, options.hidden, options.layers)
        rows = {}
        for level, solver in COMPARED:
            if options.only not in (None, solver) and (level, solver) != FULL:
                continue
            command = [sys.executable, __file__, "--level", level, "--only", solver]
            command += ["--model", str(folder), "--steps", str(options.steps)]
            command += ["--batch", str(options.batch), "--passes", str(options.passes)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[level, solver] = json.loads(done.stdout)
    full = rows[FULL]
    print(
        f"{full['parameters'] / 1e6:.0f}M parameters, {options.steps} steps of {options.batch}, "
        f"every prompt {options.passes} time(s)"
    )
    for (level, solver), row in rows.items():
        seconds, extra = row["processor_seconds"], row["extra_bytes"]
        print(
            f"{level:7s} {solver:7s} {row['weights']:>12,} weights  {seconds:7.1f} CPU s "
            f"({seconds / full['processor_seconds']:.2f}x)  extra {extra / 2**20:7.0f} MiB "
            f"({extra / full['extra_bytes']:.2f}x)"
        )


if __name__ == "__main__":
    main()
