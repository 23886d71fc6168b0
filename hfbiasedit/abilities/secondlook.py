"""A second look: what a model really writes about people, beside what its scores say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit import console
from hfbiasedit.abilities.generating.generation import Request, Sampling, complete
from hfbiasedit.abilities.literals import written_gender
from hfbiasedit.documents.structures.ability_document import Agreement, Written, WrittenSide
from hfbiasedit.errors import BiasEditError
from hfbiasedit.intervals import bootstrap

if TYPE_CHECKING:
    from hfbiasedit.abilities.config import AbilityConfig
    from hfbiasedit.codegenbias.records import Record
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch

_LONGEST_LITERAL = 12  # tokens


def measure_behaviour(
    loaded: LoadedModel,
    config: AbilityConfig,
    patch: Patch | None = None,
) -> Written:
    """Sample completions of held-out prompts and compare the genders written with the scores.

    Completions are drawn at temperature 1 from the whole distribution, so that the share of women
    among the genders written estimates the model share of the same prompts.

    Raises:
        BiasEditError: no prompts are left, or one is longer than the context.
    """
    from hfbiasedit.codegenbias.prompts import load_prompts

    prompts = load_prompts(
        config.config,
        "test",
        reference=str(config.reference),
        limit=config.people,
        seed=config.seed,
    )
    records = prompts.records
    if not records:
        raise BiasEditError("no held-out prompts are left for the second look")
    result: Written = {
        "prompts": len(records),
        "professions": len({record.profession for record in records}),
        "looks": config.looks,
        "digest": prompts.digest,
        "before": _side(loaded, records, config),
    }
    if patch is not None:
        with patch.applied(loaded):
            result["after"] = _side(loaded, records, config)
    return result


def _side(
    loaded: LoadedModel,
    records: Sequence[Record],
    config: AbilityConfig,
) -> WrittenSide:
    from hfbiasedit.scoring.asking import asked
    from hfbiasedit.scoring.continuations import encode
    from hfbiasedit.scoring.engine import score
    from hfbiasedit.scoring.fb_score import model_share

    scores = score(loaded, encode(loaded.tokenizer, asked(loaded.tokenizer, records, config.chat)))
    shares = model_share(scores.log_male, scores.log_female)
    return compare(records, shares, _write(loaded, records, config), config)


def _write(
    loaded: LoadedModel,
    records: Sequence[Record],
    config: AbilityConfig,
) -> np.ndarray:
    """How often each prompt was completed to a man and to a woman: int64 [prompts, 2]."""
    from hfbiasedit.scoring.asking import asked

    requests = [
        Request(f"{record.id} look {look}", record.prompt)
        for record in asked(loaded.tokenizer, records, config.chat)
        for look in range(config.looks)
    ]

    with console.progress("second look", len(requests)) as bar:
        written = complete(
            loaded,
            requests,
            Sampling(_LONGEST_LITERAL, ("\n",), temperature=1.0, seed=config.seed),
            batch_size=config.batch_size,
            on_batch=lambda batch: bar.advance(len(batch)),
        )
    counts = np.zeros((len(records), 2), dtype=np.int64)
    for index, completion in enumerate(written):
        row = index // config.looks
        gender = written_gender(records[row], completion.text)
        if gender is not None:
            counts[row, int(gender == "female")] += 1
    return counts


def compare(
    records: Sequence[Record], shares: np.ndarray, counts: np.ndarray, config: AbilityConfig
) -> WrittenSide:
    """Shares of women per profession, as written and as scored.

    Each prompt's score weighs as much as it has completions with a gender, so that both are about
    the same things. Professions about which no gender was written are left out (`n` are kept).

    Args:
        records: prompts. shares: model share of each [prompts].
        counts: completions that wrote a man and a woman [prompts, 2].
    """
    names, code = np.unique([record.profession for record in records], return_inverse=True)
    weight = counts.sum(1)
    total = np.bincount(code, weight, len(names))
    kept = total > 0
    reference = np.zeros(len(names))
    reference[code] = [record.share_female for record in records]
    women = np.bincount(code, counts[:, 1], len(names))[kept] / total[kept]
    scored = np.bincount(code, shares * weight, len(names))[kept] / total[kept]
    coverage = float(weight.sum() / (len(records) * config.looks))
    return {
        "coverage": coverage,
        "n": int(kept.sum()),
        **_agreement(women, scored, reference[kept], config),
    }


def _agreement(
    women: np.ndarray, scored: np.ndarray, reference: np.ndarray, config: AbilityConfig
) -> Agreement:
    """Means over professions; None where no profession is left or nothing varies."""
    if not len(women):
        return {
            "share_female": None,
            "ci95": None,
            "share_scored": None,
            "share_reference": None,
            "fb_written": None,
            "fb_scored": None,
            "mean_difference": None,
            "correlation": None,
        }
    varies = len(women) > 2 and women.std() > 0 and scored.std() > 0
    interval = bootstrap(
        lambda counts: counts @ women / len(women),
        len(women),
        resamples=config.bootstrap,
        seed=config.seed,
    )
    return {
        "share_female": float(women.mean()),
        "ci95": interval,
        "share_scored": float(scored.mean()),
        "share_reference": float(reference.mean()),
        "fb_written": float(100 * np.abs(women - reference).mean()),
        "fb_scored": float(100 * np.abs(scored - reference).mean()),
        "mean_difference": float((women - scored).mean()),
        "correlation": float(np.corrcoef(women, scored)[0, 1]) if varies else None,
    }
