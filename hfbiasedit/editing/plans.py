"""What a sweep compares: one plan for every level and saliency, and the baselines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfbiasedit.editing.config import EditConfig, SweepConfig
from hfbiasedit.levels import LEVELS

_FULL_RATE = 0.004  # of plain full fine-tuning, relative to the weights' size


@dataclass(frozen=True)
class Plan:
    """One edit of a sweep."""

    name: str
    config: EditConfig
    baseline: bool = False
    lora: bool = False


def plans_of(config: SweepConfig) -> list[Plan]:
    """The edits of a sweep, in order."""
    plans = []
    saliencies = config.saliencies or (config.edit.saliency,)
    for granularity in config.granularities:
        common = replace(config.edit, granularity=granularity)
        for saliency in saliencies if not LEVELS[granularity].everything else saliencies[:1]:
            name = granularity if len(saliencies) == 1 else f"{granularity}, {saliency}"
            plans.append(Plan(name, replace(common, saliency=saliency)))
        if "random" in config.baselines and not LEVELS[granularity].everything:
            chosen = replace(common, saliency="random")
            plans.append(Plan(f"{granularity}, random", chosen, baseline=True))
    if "full" in config.baselines:
        everything = replace(
            config.edit,
            granularity="full",
            include=("embeddings", "head", "norms", "biases"),
            learning_rate=_FULL_RATE,
            budget=None,
        )
        plans.append(Plan("full fine-tuning", everything, baseline=True))
    if "lora" in config.baselines:
        chosen = replace(config.edit, granularity="full", budget=None)
        plans.append(Plan("LoRA", chosen, baseline=True, lora=True))
    return plans
