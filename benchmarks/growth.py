#!/usr/bin/env python3
"""How cost grows: audits with prompts and weights, edits with prompts, patches with gigabytes.

    python benchmarks/growth.py [--rounds 3] [--prompts 75 150 300 600 2400 10000]
        [--models DIR ...] [--edit-prompts 64 128 256 512] [--gigabytes 0.5 1 4 16]

Everything is counted in processor seconds of one thread, in rounds that take turns; drawn are
medians and the straight line through them. Published models and edits run once. Writes `growth.md`
and `growth.svg` beside this script. Audits run on the model that ships with the package, on random
Llamas with its tokenizer and on the models that are named; the patch edits 0.1 % of the rows of a
quarter of the shards, and the shards that it does not touch are holes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
BENDS = (
    "Prompts share the more tokens the more there are, so an audit is a line in the tokens of "
    "their tree and bends in their number; against weights it bends where a small model spends "
    "its time outside of matrix products, and where the share of the embeddings, which cost "
    "little, differs. An edit pays for its prompts, for the inner products of all pairs of them, "
    "and a fixed part for what it is judged by: two audits, dev and general code; how many steps "
    "it makes (one to four) is up to what they gain, so that fewer prompts may cost more. Applying "
    "is a line as long as what is written fits the memory that the system has for files; beyond, "
    "making room for it is counted too."
)
WIDTHS = (128, 256, 384, 512)  # of the random Llamas, 6 blocks each


class Curve(NamedTuple):
    """Costs that should lie on a line."""

    title: str
    unit: str
    points: list[float]
    seconds: list[float]

    def line(self) -> tuple[float, float, float]:
        """Seconds a unit, seconds at none, and the largest distance from the line in percent."""
        slope, start = np.polyfit(self.points, self.seconds, 1)
        fitted = slope * np.array(self.points) + start
        far = np.abs(np.array(self.seconds) / fitted - 1).max()
        return float(slope), float(start), 100 * float(far)


def medians(runs: list[Callable[[], object]], rounds: int) -> list[float]:
    """Processor seconds of each run."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for number, run in enumerate(runs):
            start = time.process_time()
            run()
            taken[number].append(time.process_time() - start)
    return [statistics.median(row) for row in taken]


def audits(prompts: list[int], rounds: int) -> Iterator[Curve]:
    """Scoring the first prompts of `full`, and the smallest number of them by larger models."""
    from hfbiasedit.codegenbias.prompts import load_prompts
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.scoring.continuations import encode
    from hfbiasedit.scoring.engine import score, tokens_of

    shipped = load_model("demo", device="cpu")
    sets = [
        encode(shipped.tokenizer, load_prompts("full", "all", limit=count).records)
        for count in prompts
    ]
    score(shipped, sets[0])  # warms up the library
    seconds = medians([lambda one=one: score(shipped, one) for one in sets], rounds)
    yield Curve("audit of the demo model", "prompts", [len(one) for one in sets], seconds)
    tokens = [tokens_of(one, shipped.device) for one in sets]
    yield Curve("the same", "thousand tokens of the tree", [t / 1e3 for t in tokens], seconds)
    models = [_llama(shipped, width) for width in WIDTHS]
    for model in models:
        score(model, sets[0][:8])
    seconds = medians([lambda model=model: score(model, sets[0]) for model in models], rounds)
    sizes = [model.parameters / 1e6 for model in models]
    yield Curve(f"random Llamas, {len(sets[0])} prompts", "million weights", sizes, seconds)


def published(folders: list[Path], count: int) -> Curve:
    """Scoring prompts of `quick` by models as they are, once each, in the dtype they are in."""
    from hfbiasedit.codegenbias.prompts import load_prompts
    from hfbiasedit.models.loading import load_model
    from hfbiasedit.scoring.continuations import encode
    from hfbiasedit.scoring.engine import score

    records = load_prompts("quick", "all", limit=count).records
    sizes, seconds = [], []
    for folder in folders:
        loaded = load_model(folder, device="cpu")
        encoded = encode(loaded.tokenizer, records)
        score(loaded, encoded[:4])  # warms up the library
        seconds += medians([lambda one=loaded, rows=encoded: score(one, rows)], 1)
        sizes.append(loaded.parameters / 1e6)
    return Curve(f"published models, {count} prompts", "million weights", sizes, seconds)


def edits(prompts: list[int]) -> Curve:
    """Whole row edits of the demo model that learn from so many prompts, once each."""
    from hfbiasedit.editing.editor import edit

    def run(count: int) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            edit("demo", granularity="row", limit=count, out=Path(scratch, "run"))

    seconds = medians([lambda one=one: run(one) for one in prompts], 1)
    return Curve("row edit of the demo model", "prompts", [float(one) for one in prompts], seconds)


def _llama(shipped, width: int):
    from dataclasses import replace

    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(shipped.tokenizer), hidden_size=width, intermediate_size=4 * width,
        num_hidden_layers=6, num_attention_heads=width // 32, num_key_value_heads=width // 32,
        max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    return replace(shipped, model=LlamaForCausalLM(config).eval().requires_grad_(False))


def applies(gigabytes: list[float], rounds: int, folder: Path | None) -> Curve:
    """Applying to checkpoints of about these sizes, in a running interpreter."""
    from patch_apply import make_patch, write_checkpoint

    from hfbiasedit.patches.checkpoint import apply_patch

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        runs, sizes = [], []
        for number, size in enumerate(gigabytes):
            base, patch = Path(scratch, f"{number}"), Path(scratch, f"{number}.safetensors")
            layers = max(1, round((size - 0.26) / 0.134))  # 0.26 GB of embeddings, then blocks
            write_checkpoint(base, layers, 4, filled=(1,))  # the shard that `make_patch` takes
            make_patch(base, patch, 0.001)
            sizes.append(sum(f.stat().st_size for f in base.glob("*.safetensors")) / 1e9)
            runs.append(lambda base=base, patch=patch: _applied(apply_patch, base, patch, scratch))
        seconds = medians(runs, rounds)
    return Curve("patch apply", "gigabytes", sizes, seconds)


def _applied(apply_patch: Callable[..., object], base: Path, patch: Path, scratch: str) -> None:
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        apply_patch(base, patch, Path(out, "out"))


def draw(curves: list[Curve], path: Path) -> None:
    """One panel a curve."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib.figure import Figure

    rows = -(-len(curves) // 3)
    figure = Figure(figsize=(12, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, 3, squeeze=False).flatten()
    for axes in panels[len(curves) :]:
        axes.remove()
    for axes, curve in zip(panels, curves, strict=False):
        slope, start, _ = curve.line()
        ends = np.array([0, max(curve.points)])
        axes.plot(ends, slope * ends + start, color="0.7")
        axes.plot(curve.points, curve.seconds, "o", color="C0")
        axes.set(title=curve.title, xlabel=curve.unit, ylabel="processor seconds")
        axes.set_ylim(0, 1.08 * max(curve.seconds))
    figure.savefig(path, metadata={"Date": None})


def page(curves: list[Curve], options: argparse.Namespace) -> str:
    """The figures as Markdown."""
    lines = [
        "# How cost grows",
        "",
        f"Processor seconds of one thread, medians of {options.rounds} rounds (published models "
        f"and edits: one); written by `python benchmarks/growth.py {_arguments(options)}`. The "
        "last column is the largest distance of a point from its straight line.",
        "",
        BENDS,
        "",
        "![audits, edits and applying against what they depend on](growth.svg)",
        "",
        "| work | points | seconds | line | off by at most |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(row, curves)]) + "\n"


def row(curve: Curve) -> str:
    """A curve as a row of the table."""
    slope, start, far = curve.line()
    points = ", ".join(f"{point:,.4g}" for point in curve.points)
    seconds = ", ".join(f"{value:.2f}" for value in curve.seconds)
    return (
        f"| {curve.title} | {points} {curve.unit} | {seconds} | "
        f"{start:.3f} s + {slope:.5f} s each | {far:.0f} % |"
    )


def _arguments(options: argparse.Namespace) -> str:
    """The options as one would write them; of a model's directory its name alone."""
    said = [f"--rounds {options.rounds}"]
    for name in ("prompts", "models", "edit_prompts", "gigabytes"):
        values = [f"{x:g}" if isinstance(x, (int, float)) else x.name for x in vars(options)[name]]
        said.append(f"--{name.replace('_', '-')} {' '.join(values)}" if values else "")
    return " ".join(filter(None, said))


def measured(options: argparse.Namespace) -> Iterator[Curve]:
    """One curve after another, as the measurements end."""
    yield from audits(options.prompts, options.rounds)
    if options.models:
        yield published(options.models, 100)
    yield edits(options.edit_prompts)
    yield applies(options.gigabytes, options.rounds, options.dir)


def main() -> None:
    """Measure, draw, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, nargs="+", default=[75, 150, 300, 600, 2400, 10000])
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="directories")
    parser.add_argument("--edit-prompts", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.5, 1, 4, 16])
    parser.add_argument("--dir", type=Path, default=None, help="where checkpoints are made")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    curves = []
    for curve in measured(options):
        print(row(curve), flush=True)
        curves.append(curve)
    draw(curves, options.out / "growth.svg")
    text = page(curves, options)
    (options.out / "growth.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
