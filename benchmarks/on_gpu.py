#!/usr/bin/env python3
"""Audits and edits of models in the exact shapes of published ones, with random weights, on a GPU.

    python benchmarks/on_gpu.py TOKENIZER Qwen2.5-Coder-1.5B Qwen2.5-Coder-7B

Shapes are those of `shapes/*.json`; TOKENIZER is a local directory. Weights do not matter for cost,
and what is said of bias is worth nothing here. A checkpoint is made and saved, and the commands are
run on it as a user would run them, in processes of their own: the times are those of whole commands
and of the parts that they report. `--blocks` cuts the model, `--device cpu` tries the script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edit_scale import shape_of


def make(name: str, chosen: argparse.Namespace, folder: Path) -> tuple[int, int]:
    """Save a checkpoint with random weights in bfloat16; returns all weights, those of blocks."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    cut = {} if chosen.blocks is None else {"num_hidden_layers": chosen.blocks}
    config = AutoConfig.for_model(**(shape_of(name) | cut))
    torch.manual_seed(0)
    with torch.device(chosen.device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(chosen.tokenizer).save_pretrained(folder)
    embedding = model.get_input_embeddings().weight.numel()
    head = model.get_output_embeddings().weight.numel()
    total = sum(weight.numel() for weight in model.parameters())
    tied = model.config.tie_word_embeddings
    return total, total - embedding - (0 if tied else head)


def products(device: str) -> float:
    """Operations per second of a large matrix product in bfloat16: the median of five."""
    import torch

    size = 8192 if device != "cpu" else 1024
    side = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        float((side @ side)[0, 0])
        spent.append(time.perf_counter() - start)
    return 2.0 * size**3 / sorted(spent[3:])[2]


def run(*arguments: str) -> tuple[float, dict[str, Any]]:
    """Seconds of the clock of a command, and the document that it prints."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "hfbiasedit", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def measure(name: str, chosen: argparse.Namespace, folder: Path, rate: float) -> None:
    """Make a model, audit it and edit it."""
    weights, met = make(name, chosen, folder / "model")
    model, device = str(folder / "model"), ("--device", chosen.device)
    print(f"\n{name}: {weights:,} weights, {met:,} of them in blocks")
    audit, _ = run("audit", model, *device, "--out", str(folder / "audit"))
    print(f"- audit: {audit:.1f} s, the whole command", flush=True)
    plan = ("--granularity", chosen.granularity, "--budget", chosen.budget)
    _, forecast = run("edit", model, *device, *plan, "--dry-run")
    tokens = next(one["tokens"] for one in forecast["passes"] if one["stage"] == "audits")
    limit = 2 * met * tokens / rate
    print(f"- products of its {tokens:,} tokens at {rate / 1e12:.1f} TFLOP/s: {limit:.2f} s")
    edit, document = run("edit", model, *device, *plan, "--out", str(folder / "run"))
    print(f"- {chosen.granularity} edit, {chosen.budget}: {edit:.1f} s ({edit / audit:.1f} audits)")
    parts = {key: round(value, 1) for key, value in document["seconds"].items()}
    print(f"- its parts: {parts}; forecast {forecast['seconds']['wall']:.1f} s")
    memory = {key: round(value / 1e9, 2) for key, value in forecast["memory"].items()}
    print(f"- peak {document['peak_memory_bytes'] / 1e9:.2f} GB; forecast, GB: {memory}")
    print(f"- edited {document['edited']['weights']:,} weights; {document['stopped']}", flush=True)


def main() -> None:
    """Measure some shapes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("shapes", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--granularity", default="row")
    parser.add_argument("--budget", default="0.1% of weights")
    parser.add_argument("--blocks", type=int)
    chosen = parser.parse_args()
    rate = products(chosen.device)
    for name in chosen.shapes:
        with tempfile.TemporaryDirectory(prefix="hfbiasedit-") as folder:
            measure(name, chosen, Path(folder), rate)


if __name__ == "__main__":
    main()
