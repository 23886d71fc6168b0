#!/usr/bin/env python3
"""Locate, select and one step of the default solver on few prompts: seconds and memory at size.

    python benchmarks/edit_scale.py MODEL
    python benchmarks/edit_scale.py Qwen1.5-MoE-A2.7B --blocks 4 --hidden 1024 --tokenizer FOLDER

MODEL is a local checkpoint, or a shape of `shapes/*.json`, of which so many blocks are made with
random weights in bfloat16 (weights do not matter for cost; what is said of bias is worth nothing
then). A shape cannot be measured without a tokenizer (a local directory), and its vocabulary is cut
to that one's. Every stage prints processor and wall seconds, per prompt too, and the peak of memory
beside the model; the forecast of `hfbiasedit edit --dry-run` for the same few prompts comes last
(with `--forecast-only` alone; no weights are made then).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SHAPES = Path(__file__).with_name("shapes")


def peak() -> int:
    """The largest memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def shape_of(name: str) -> dict[str, Any]:
    """The configuration of a published model, from `shapes/*.json`."""
    found: dict[str, Any] = {}
    for path in SHAPES.glob("*.json"):
        found |= json.loads(path.read_text())
    return dict(found[name])


def made(name: str, chosen: argparse.Namespace) -> Any:
    """A model of a shape with random weights, cut to a few blocks, and the tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from hfbiasedit.hub.source import ModelSource
    from hfbiasedit.models.loading import LoadedModel

    tokenizer = AutoTokenizer.from_pretrained(chosen.tokenizer)
    shape = shape_of(name) | {"num_hidden_layers": chosen.blocks, "vocab_size": len(tokenizer)}
    if chosen.hidden:
        shape["hidden_size"] = chosen.hidden
    torch.manual_seed(0)
    config = AutoConfig.for_model(**shape)
    with torch.device("meta" if chosen.forecast_only else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    source = ModelSource(f"{name}, {chosen.blocks} blocks, random", Path("/nowhere"))
    return LoadedModel(model.requires_grad_(False), tokenizer, source, "bfloat16")


class Clock:
    """Prints what every stage took."""

    def __init__(self, prompts: int, beside: int) -> None:
        """`beside` are the bytes of the program and the model."""
        self.prompts, self.beside = prompts, beside
        print(
            "| stage | processor s | wall s | processor s per prompt | peak beside the model, GB |"
        )
        print("|---|---|---|---|---|")

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do the work of a stage and print its line."""
        start, clock = time.perf_counter(), time.process_time()
        found = work()
        wall, spent = time.perf_counter() - start, time.process_time() - clock
        extra = (peak() - self.beside) / 1e9
        print(
            f"| {stage} | {spent:.1f} | {wall:.1f} | {spent / self.prompts:.2f} | {extra:.2f} |",
            flush=True,
        )
        return found


def measure(loaded: Any, config: Any, clock: Clock) -> None:
    """Go through the stages of an edit, up to its first step."""
    from hfbiasedit.editing import attempt as attempts
    from hfbiasedit.editing.keeping import Kept
    from hfbiasedit.editing.locating.locator import locate_with
    from hfbiasedit.editing.material import gathering
    from hfbiasedit.editing.solving.solver import solver_of
    from hfbiasedit.editing.weights.deltas import Deltas

    material = clock.run("what the original says", partial(gathering.gather, loaded, config))
    train = gathering.train_part(material)
    location = clock.run("locate", partial(locate_with, loaded, train, config))
    solver = solver_of(config.solver)
    chosen = partial(attempts._selected, loaded, config, material, location, solver, Kept())
    selection, task, _ = clock.run("select", chosen)
    with Deltas(loaded.model, selection) as deltas:
        outcome = clock.run("one step", partial(solver.solve, task, deltas))
    print(
        f"\n{selection.weights:,} weights in {len(selection.slices)} tensors; ranked by "
        f"{location.ranking.saliency}; measured divergences "
        f"{', '.join(format(entry['kl'], '.2g') for entry in outcome.history)}"
    )


def forecast(loaded: Any, config: Any) -> None:
    """Print what `--dry-run` counts for the same, audits left out."""
    from hfbiasedit.editing.forecasting import cost
    from hfbiasedit.editing.forecasting.calibration import calibrate
    from hfbiasedit.editing.forecasting.counts import selections
    from hfbiasedit.editing.forecasting.memory import memory_of
    from hfbiasedit.editing.forecasting.passes import passes_of, sizes_of
    from hfbiasedit.editing.forecasting.widths import Widths
    from hfbiasedit.models.architecture import projections
    from hfbiasedit.models.placement import parse_device

    items, ladder, sizes = (
        projections(loaded.model),
        selections(loaded.model, config),
        sizes_of(loaded, config),
    )
    passes = [one for one in passes_of(sizes, config, ladder) if one.stage != "audits"]
    widths = Widths.of(loaded.model, items)
    device = parse_device("cpu")
    rates = calibrate(loaded.model, items, loaded.model.dtype, device)
    memory = memory_of(loaded, sizes, config, ladder, device)
    processor, _ = cost.seconds(sizes, passes, ladder, widths, rates)
    kinds = ("activations", "hidden_states", "sketches", "rows", "gram")
    print(
        f"forecast of the same: {processor:.0f} processor s, beside the model "
        f"{(memory['host'] - memory['model']) / 1e9:.2f} GB ("
        + ", ".join(f"{kind} {memory[kind] / 1e9:.2f}" for kind in kinds)
        + ")"
    )


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a local directory or a name of a shape")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--hidden", type=int, help="instead of the shape's width")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--windows", type=int, default=64, help="of general code, in every stage")
    parser.add_argument("--granularity", default="row")
    parser.add_argument("--budget", default="0.3% of weights")
    parser.add_argument("--forecast-only", action="store_true")
    chosen = parser.parse_args()

    from hfbiasedit.editing.config import EditConfig
    from hfbiasedit.editing.forecasting import passes
    from hfbiasedit.editing.locating import joint
    from hfbiasedit.editing.material import gathering
    from hfbiasedit.editing.solving import gauss_newton
    from hfbiasedit.models.loading import load_model

    gauss_newton.ROUNDS = 1
    gathering.ANCHOR_WINDOWS = joint.PRICED = passes.PRICED = chosen.windows
    program = peak()
    local = Path(chosen.model).is_dir()
    loaded = load_model(chosen.model) if local else made(chosen.model, chosen)
    weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    config = EditConfig(granularity=chosen.granularity, budget=chosen.budget, limit=chosen.prompts)
    print(f"{loaded.source.id}: {loaded.parameters:,} weights, {loaded.dtype}\n")
    if not chosen.forecast_only:
        measure(loaded, config, Clock(chosen.prompts, program + weights))
    forecast(loaded, config)


if __name__ == "__main__":
    main()
