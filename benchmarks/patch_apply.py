"""Applying a patch to a large checkpoint against `cp` and against load, change, save.

    python benchmarks/patch_apply.py [--layers 28] [--shards 8] [--dir /tmp/bench]

A random Llama of about 4 GB in bfloat16; the patch edits 0.1 % of the rows of the tensors in a
quarter of the shards. Every contender runs in a process of its own, in rounds that take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import numpy as np

HIDDEN, INNER, VOCABULARY, HEADS = 2048, 8192, 32000, 16


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama checkpoint."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        for name in "qkvo":
            found[f"{block}.self_attn.{name}_proj.weight"] = (HIDDEN, HIDDEN)
        for name in ("gate", "up"):
            found[f"{block}.mlp.{name}_proj.weight"] = (INNER, HIDDEN)
        found[f"{block}.mlp.down_proj.weight"] = (HIDDEN, INNER)
        for name in ("input", "post_attention"):
            found[f"{block}.{name}_layernorm.weight"] = (HIDDEN,)
    return found | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def write_checkpoint(
    path: Path, layers: int, shards: int, filled: Container[int] | None = None
) -> None:
    """A checkpoint of small random bfloat16 values, written shard by shard.

    Where `filled` names shards, from 0, the others are holes in the file system: zeros that take
    no room.
    """
    path.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "vocab_size": VOCABULARY, "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)
    noise = (random.normal(0, 0.02, 1 << 24).astype("<f4").view("<u4") >> 16).astype("<u2")
    names = list(shapes(layers).items())
    size = sum(int(np.prod(shape)) for _, shape in names)
    weight_map, parts, placed = {}, [[]], 0
    for name, shape in names:
        if placed >= size / shards * len(parts):
            parts.append([])
        parts[-1].append((name, shape))
        placed += int(np.prod(shape))
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for name, shape in part:
            end = offset + 2 * int(np.prod(shape))
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
            weight_map[name], offset = file, end
        raw = json.dumps(header).encode()
        raw += b" " * (-len(raw) % 8)
        with open(path / file, "wb") as out:
            out.write(len(raw).to_bytes(8, "little") + raw)
            if filled is not None and number - 1 not in filled:
                out.truncate(8 + len(raw) + offset)
                continue
            for _, shape in part:
                left = int(np.prod(shape))
                while left:
                    piece = noise[: min(left, noise.size)]
                    out.write(piece.data)
                    left -= piece.size
    index = {"metadata": {"total_size": 2 * size}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def make_patch(checkpoint: Path, file: Path, share: float, scattered: bool = False) -> list[str]:
    """Edit a share of the rows, or of the weights, of every matrix in a quarter of the shards.

    Returns the shards.
    """
    from hfbiasedit.checkpoints.storage import Checkpoint
    from hfbiasedit.patches.edits import TensorEdit
    from hfbiasedit.patches.patch import Patch

    opened = Checkpoint.open(checkpoint)
    touched = opened.files[1::4] or opened.files
    random = np.random.default_rng(1)
    edits = {}
    for name, place in opened.tensors.items():
        if place.file not in touched or len(place.info.shape) < 2:
            continue
        height = place.info.shape[0]
        if share >= 1:
            mapped = np.memmap(
                checkpoint / place.file, "<u2", "r", place.info.begin, place.info.shape
            )
            edits[name] = TensorEdit(
                name, "whole", None, place.info.shape, "BF16", None, mapped, mapped ^ 1
            )
            continue
        if scattered:
            size = int(np.prod(place.info.shape))
            flat = np.unique(random.integers(0, size, max(1, round(share * size))))
            content = np.memmap(checkpoint / place.file, "<u2", "r", place.info.begin, (size,))
            old = np.array(content[flat])
            edits[name] = TensorEdit(
                name, "entries", None, place.info.shape, "BF16", flat, old, old ^ 1
            )
            continue
        rows = np.sort(random.choice(height, max(1, round(share * height)), replace=False))
        content = np.memmap(checkpoint / place.file, "<u2", "r", place.info.begin, place.info.shape)
        old = np.array(content[rows])
        edits[name] = TensorEdit(
            name, "rows", 0, place.info.shape, "BF16", rows.astype(np.int64), old, old ^ 1
        )
    Patch(edits).save(file)
    return list(touched)


COMMAND = """
import re, sys
def peak():  # of this process alone; getrusage would count what its parent had
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
baseline = peak()
sys.argv = ["hfbiasedit", "patch", *sys.argv[1:]]
from hfbiasedit.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(f"peak memory {(peak() - baseline) / 1024:.1f} MB above an idle interpreter")
"""
RESAVE = """
import sys, torch
from transformers import AutoModelForCausalLM
from hfbiasedit.patches.patch import Patch
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
Patch.load(sys.argv[2]).apply_(model)
model.save_pretrained(sys.argv[3])
"""


class Cost(NamedTuple):
    """Seconds of a process: of the processors, and of the clock."""

    processor: float
    clock: float


def run(command: list[str]) -> tuple[Cost, str]:
    """What a process costs, and what it prints."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(used, clock), done.stdout


def prepare(base: Path, out: Path, cold: bool) -> None:
    """An empty place for the result, no writes of others to wait for, files in memory or not."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    for file in base.glob("*.safetensors"):
        handle = os.open(file, os.O_RDONLY)
        try:
            if cold:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while os.read(handle, 1 << 24):
                    pass
        finally:
            os.close(handle)


def contenders(base: Path, patch: Path, out: Path, touched: list[str]) -> dict[str, list[str]]:
    """What is compared, in an order in which each finds what it needs."""
    files = " ".join(f"'{base / file}'" for file in touched)
    ours = [sys.executable, "-c", COMMAND]
    return {
        "start-up: patch show": [*ours, "show", str(patch)],
        "cp of the touched shards": ["sh", "-c", f"mkdir '{out}' && cp {files} '{out}'"],
        "apply": [*ours, "apply", str(base), str(patch), "--out", str(out)],
        "revert in place": [*ours, "revert", str(out), str(patch), "--in-place"],
        "apply in place": [*ours, "apply", str(out), str(patch), "--in-place"],
    }


def compare(base: Path, patch: Path, out: Path, touched: list[str], rounds: int) -> None:
    """Run all contenders in turns and print medians; processor seconds bear a busy machine."""
    commands = contenders(base, patch, out, touched)
    for cold in (False, True):
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                if "in place" not in name:
                    prepare(base, out, cold)
                cost, printed = run(command)
                costs[name].append(cost)
                if name == "apply":
                    memory = printed.strip().splitlines()[-1]
        middle = {
            name: Cost(*(statistics.median(column) for column in zip(*rows, strict=True)))
            for name, rows in costs.items()
        }
        print(f"{'cold' if cold else 'warm'} cache, medians of {rounds} (apply: {memory})")
        copy, start = middle["cp of the touched shards"], middle["start-up: patch show"]
        for name, cost in middle.items():
            ratios = [
                (one - (begun if "apply" in name or "revert" in name else 0)) / copied
                for one, begun, copied in zip(cost, start, copy, strict=True)
            ]
            print(
                f"  {name:25} {cost.processor:6.2f} s of processors {cost.clock:6.2f} s of the "
                f"clock; less start-up {ratios[0]:.2f}x and {ratios[1]:.2f}x cp"
            )


def main() -> None:
    """Make the checkpoint, run the contenders, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.001, help="of the rows; 1: whole tensors")
    parser.add_argument("--scattered", action="store_true", help="single weights instead of rows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--skip-resave", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        base, patch, out = Path(folder, "base"), Path(folder, "p.safetensors"), Path(folder, "out")
        write_checkpoint(base, options.layers, options.shards)
        touched = make_patch(base, patch, options.share, options.scattered)
        size = sum(file.stat().st_size for file in base.glob("*.safetensors"))
        part = sum((base / file).stat().st_size for file in touched)
        print(f"checkpoint {size / 1e9:.2f} GB, touched shards {part / 1e9:.2f} GB")
        held = patch_bytes(patch)
        print(f"patch {patch.stat().st_size / 1e6:.2f} MB = {patch.stat().st_size / held:.4f}x")
        compare(base, patch, out, touched, options.repeat)
        if not options.skip_resave:
            slow, fast = [], []
            for script, found in ((RESAVE, slow), (COMMAND, fast)):
                prepare(base, out, cold=False)
                arguments = [str(base), str(patch), str(out)]
                if script is not RESAVE:
                    arguments = ["apply", str(base), str(patch), "--out", str(out)]
                found.append(run([sys.executable, "-c", script, *arguments])[0].clock)
            print(
                f"load, change, save_pretrained {slow[0]:.2f} s of the clock: apply, right after "
                f"it, is {slow[0] / fast[0]:.1f}x faster"
            )


def patch_bytes(patch: Path) -> int:
    """Bytes that positions and both sides need, without any header."""
    from hfbiasedit.patches.patch import Patch

    return Patch.load(patch).summary()["bytes"]


if __name__ == "__main__":
    main()
