#!/usr/bin/env python3
"""What a row edit of eight code models would take, from their shapes alone.

    python benchmarks/forecasts.py TOKENIZER

The shapes are those of the models' published configurations (`shapes/code_models.json`); no weights
are read. Prompts are counted with one tokenizer for all (a local directory), so that tokens are
near those of a model's own and not the same. The table goes to standard output as Markdown;
operations are those of matrix products, seconds are left to `hfbiasedit edit MODEL --dry-run`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SHAPES = Path(__file__).with_name("shapes") / "code_models.json"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    arguments = parser.parse_args()

    import torch
    from transformers import AutoConfig, AutoTokenizer

    from hfbiasedit.editing.config import EditConfig
    from hfbiasedit.editing.forecasting import cost
    from hfbiasedit.editing.forecasting.counts import selections
    from hfbiasedit.editing.forecasting.memory import memory_of
    from hfbiasedit.editing.forecasting.passes import passes_of, sizes_of
    from hfbiasedit.editing.forecasting.widths import Widths
    from hfbiasedit.hub.source import ModelSource
    from hfbiasedit.models.architecture import projections
    from hfbiasedit.models.outline import outline_of

    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    config = EditConfig(dtype="bfloat16")
    print("| model | weights | edited at most | directions | operations | model, GB | peak, GB |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in json.loads(SHAPES.read_text()).items():
        made = AutoConfig.for_model(**shape)
        loaded = outline_of(ModelSource(name, arguments.tokenizer), made, tokenizer, config)
        sizes = sizes_of(loaded, config)  # not every model bears trees, nor as large ones
        ladder = selections(loaded.model, config)
        widths = Widths.of(loaded.model, projections(loaded.model))
        total = sum(cost.operations(one, widths) for one in passes_of(sizes, config, ladder))
        memory = memory_of(loaded, sizes, config, ladder, torch.device("cpu"))
        print(
            f"| {name} | {loaded.parameters / 1e9:.2f}B | {ladder[0].weights:,} "
            f"| {ladder[0].coordinates:,} | {total:.1e} | {memory['model'] / 1e9:.1f} "
            f"| {memory['host'] / 1e9:.1f} |"
        )


if __name__ == "__main__":
    main()
