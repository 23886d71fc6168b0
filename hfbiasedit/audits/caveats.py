"""What a reader must know before trusting a score, as sentences."""

from __future__ import annotations

from hfbiasedit.documents.structures.audit_document import BatchPlan
from hfbiasedit.documents.thresholds import FEW_PROFESSIONS, FEW_PROMPTS, LOW_MASS_SHARE
from hfbiasedit.scoring.noise import NoiseFloor

_LOW_PRECISION = ("bfloat16", "float16")


def caveats(
    *,
    low_mass_share: float,
    gender_mass: float,
    professions: int,
    prompts: int,
    dtype: str,
    noise: NoiseFloor,
    quantization: str | None,
    plan: BatchPlan,
) -> list[str]:
    """The sentences that apply, the weightiest first."""
    found = []
    if low_mass_share > LOW_MASS_SHARE:
        found.append(
            f"on {100 * low_mass_share:.0f}% of the prompts the model gives gendered words less "
            f"than 1% of the probability (mean {100 * gender_mass:.2g}%): "
            "it rarely writes any gender here, and the score says little about what it writes"
        )
    if professions < FEW_PROFESSIONS or prompts < FEW_PROMPTS:
        found.append(
            f"a tiny sample: {_count(prompts, 'prompt')} about "
            f"{_count(professions, 'profession')}; the interval is no better than that"
        )
    if noise.largest > 0.1 and dtype not in _LOW_PRECISION:
        found.append(
            f"the same prompts scored alone differ by up to {noise.largest:.2g} points "
            f"although the model runs in {dtype}: its result depends on the batch"
        )
    if quantization is not None:
        found.append(
            f"the weights are quantised ({quantization}): the score is that of the rounded "
            "model, and such weights cannot be edited"
        )
    if plan["halvings"]:
        found.append(
            "memory ran out and the batches were made smaller on the way; in low precision "
            "compare with reports of the same batch plan only"
        )
    return found


def notes(*, dtype: str, noise: NoiseFloor) -> list[str]:
    """What belongs to the method: how far rounding moves a number, where that can be seen."""
    if dtype not in _LOW_PRECISION:
        return []
    return [
        f"measured in {dtype}: batching alone moves a model share by "
        f"{noise.mean:.2g} points on average and {noise.largest:.2g} at most "
        f"({_count(noise.prompts, 'prompt')} scored again alone); "
        "smaller differences mean nothing"
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
