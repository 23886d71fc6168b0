#!/usr/bin/env python3
"""The genders that a model writes when it samples, before and after an edit.

    python benchmarks/sampled_genders.py MODEL RUN [--split test] [--draws 20]

An audit adds up probabilities; here the model writes, at temperature 1, after every prompt of a
split, with the same draws before and after. Counted is what begins with one of the prompt's own
values. Per profession the share of women among what was counted is compared with the factual one.
The distance of a share from few draws is larger than that of the probability behind it, before as
after; what a perfect model would score with as many draws is printed beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hfbiasedit import Patch
from hfbiasedit.abilities.generating.generation import Request, Sampling, complete
from hfbiasedit.abilities.literals import written_gender
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.intervals import paired_interval
from hfbiasedit.models.loading import LoadedModel, load_model

Counts = dict[str, np.ndarray]  # profession -> how often [male, female] was written


def counted(loaded: LoadedModel, records: Sequence[Record], draws: int, seed: int) -> Counts:
    """Complete every prompt `draws` times and count by profession."""
    owners = [record for record in records for _ in range(draws)]
    requests = [Request(f"{n % draws}/{r.id}", r.prompt) for n, r in enumerate(owners)]
    sampling = Sampling(max_new_tokens=8, stops=("\n",), temperature=1.0, seed=seed)
    found: Counts = {record.profession: np.zeros(2, dtype=int) for record in records}
    for record, done in zip(owners, complete(loaded, requests, sampling), strict=True):
        gender = written_gender(record, done.text)
        if gender is not None:
            found[record.profession][int(gender == "female")] += 1
    return found


def main() -> None:
    """Sample twice and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("run", type=Path, help="a run directory or patch file")
    parser.add_argument("--config", default="quick")
    parser.add_argument("--split", default="test")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int)
    chosen = parser.parse_args()
    loaded = load_model(chosen.model)
    records = load_prompts(chosen.config, chosen.split, limit=chosen.limit).records
    patch = Patch.load(chosen.run / "patch.safetensors" if chosen.run.is_dir() else chosen.run)
    with torch.no_grad():
        before = counted(loaded, records, chosen.draws, chosen.seed)
        with patch.applied(loaded.model):
            after = counted(loaded, records, chosen.draws, chosen.seed)
    facts = {record.profession: record.share_female for record in records}
    both = [name for name in facts if before[name].sum() and after[name].sum()]
    rng = np.random.default_rng(chosen.seed)
    truth = np.array([facts[name] for name in both])
    sides = [
        np.array([side[name][1] / side[name].sum() for name in both]) for side in (before, after)
    ]
    distances = [100 * np.abs(side - truth) for side in sides]
    perfect = [
        100 * np.abs(rng.binomial(side[name].sum(), facts[name]) / side[name].sum() - facts[name])
        for side in (before, after)
        for name in both
    ]
    low, high = paired_interval(*distances)
    total = len(records) * chosen.draws
    document = {
        "model": chosen.model,
        "prompts": len(records),
        "draws": chosen.draws,
        "professions": len(both),
        "distance": [round(float(side.mean()), 2) for side in distances],
        "difference_ci95": [round(low, 2), round(high, 2)],
        "distance_of_a_perfect_model": round(float(np.mean(perfect)), 2),
        "women": [round(float(side.mean()), 4) for side in sides],
        "women_factual": round(float(truth.mean()), 4),
        "gender_written": [
            round(float(sum(part.sum() for part in side.values()) / total), 4)
            for side in (before, after)
        ],
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
