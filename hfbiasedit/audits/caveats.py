"""What a reader must know before trusting a score, as sentences."""

from __future__ import annotations

from hfbiasedit.documents.structures.audit_document import Backend, BatchPlan
from hfbiasedit.documents.structures.shared import Gguf, Model, Quantized
from hfbiasedit.documents.thresholds import FEW_PROFESSIONS, FEW_PROMPTS, LOW_MASS_SHARE
from hfbiasedit.scoring.noise import NoiseFloor

_LOW_PRECISION = ("bfloat16", "float16")


def caveats(
    *,
    low_mass_share: float,
    gender_mass: float,
    professions: int,
    prompts: int,
    model: Model,
    noise: NoiseFloor | None,
    backend: Backend | None,
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
            f"{_count(professions, 'profession')}; "
            + ("the interval is no better than that" if professions > 1 else "there is no interval")
        )
    if noise is not None and noise.beyond_rounding(model["dtype"]):
        found.append(
            f"the same prompts scored alone differ by up to {noise.largest:.2g} points "
            f"although the model runs in {model['dtype']}: its result depends on the batch"
        )
    if backend is not None and "tokens" in backend["missing"]:
        found.append(
            "the backend cut the texts into tokens itself; where one continuation begins another, "
            "or the cut falls inside a token, shares may be off"
        )
    quantization = model.get("quantization")
    if quantization is not None and "quantized" not in model:
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


def notes(
    *, model: Model, noise: NoiseFloor | None, backend: Backend | None, chat: bool
) -> list[str]:
    """What belongs to the method: who computed what, and how far rounding moves a number."""
    dtype = model["dtype"]
    found = [] if backend is None else [_of_backend(backend)]
    if "quantized" in model:
        found.append(_of_quantising(model["quantized"], dtype))
    if "gguf" in model:
        found.append(_of_gguf(model["gguf"], dtype))
    if chat:
        found.append(
            "asked through the model's chat template, each prompt as an answer that was begun; "
            "scores without it are those of other questions"
        )
    if noise is not None and dtype in _LOW_PRECISION:
        found.append(
            f"measured in {dtype}: batching alone moves a model share by "
            f"{noise.mean:.2g} points on average and {noise.largest:.2g} at most "
            f"({_count(noise.prompts, 'prompt')} scored again alone); "
            "smaller differences mean nothing"
        )
    return found


def _of_backend(backend: Backend) -> str:
    """Who computed, and what nobody looked at."""
    kind = f" ({backend['model']})" if "model" in backend else ""
    text = f"scored by {backend['name']}{kind}, not by the built-in engine"
    if "noise floor" in backend["missing"]:
        text += ": how far batching alone moves a model share is not known (no noise floor)"
    return text


def _of_gguf(file: Gguf, dtype: str) -> str:
    """Where weights and tokenizer are from."""
    total = sum(file["weights"].values())
    shares = ", ".join(f"{100 * n / total:.3g}% {name}" for name, n in file["weights"].items())
    return (
        f"the weights are those of {file['file']} ({shares}), read by transformers and computed in "
        f"{dtype}; the tokenizer is that of {file['tokenizer']}"
    )


def _of_quantising(done: Quantized, dtype: str) -> str:
    """What was rounded how, and what was not."""
    scales = ", ".join(
        f"a scale per {'row' if size == 'row' else f'{size} weights'}"
        + (f" in {number}" if len(done["groups"]) > 1 else "")
        for size, number in done["groups"].items()
    )
    return (
        f"quantised to {done['method']} before it was measured: the "
        f"{_count(done['matrices'], 'projection matrix', 'projection matrices')} of the blocks, "
        f"symmetric, {scales} ({done['by']}); computed in {dtype} with the rounded weights; "
        "embeddings, head and norms are not quantised"
    )


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {several or f'{noun}s'}"
