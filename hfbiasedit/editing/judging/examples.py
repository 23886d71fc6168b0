"""Prompts of the audit with what a model writes after them, before and after its edit.

Chosen by a rule and not by hand: of the prompts that the model answers with a gender at all (at
least the median gender mass), the one whose share came closest to the reference by the edit, and
the one that went farthest from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit.abilities.generating.generation import Request, Sampling, complete
from hfbiasedit.abilities.literals import written_gender
from hfbiasedit.audits.breakdowns import PromptScores
from hfbiasedit.console import warn
from hfbiasedit.documents.structures.edit_document import Example, ExampleSide
from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from hfbiasedit.codegenbias.records import Record
    from hfbiasedit.models.loading import LoadedModel

DRAWS = 20
_TOKENS = 24  # of a continuation; what matters stands in the first few


def choose(before: PromptScores, after: PromptScores) -> dict[str, int]:
    """`closer` and `farther` to the number of a prompt; a direction that none went is left out."""
    moved = after.fb - before.fb
    seen = before.mass >= np.median(before.mass)
    best = int(np.where(seen, moved, np.inf).argmin())
    worst = int(np.where(seen, moved, -np.inf).argmax())
    found = {}
    if moved[best] < 0:
        found["closer"] = best
    if moved[worst] > 0:
        found["farther"] = worst
    return found


def write_examples(
    models: tuple[LoadedModel, LoadedModel],
    scores: tuple[PromptScores, PromptScores],
    seed: int,
) -> list[Example]:
    """The prompts of `choose` and what both models write there; none where they cannot write.

    Args:
        models: the original and the edited model. scores: of the same prompts, in the same order.
        seed: of the draws, which are the same for both models.
    """
    chosen = choose(*scores)
    records = [scores[0].records[number] for number in chosen.values()]
    try:
        sides = [
            _sides(model, records, part, list(chosen.values()), seed)
            for model, part in zip(models, scores, strict=True)
        ]
    except BiasEditError as error:  # a run is complete without them
        warn(f"the card will show no example: {error}")
        return []
    return [
        {
            "chosen": "closer" if kind == "closer" else "farther",
            "id": record.id,
            "profession": record.profession,
            "language": record.language,
            "prompt": record.prompt,
            "share_female": record.share_female,
            "seed": seed,
            "draws": DRAWS,
            "before": first,
            "after": second,
        }
        for kind, record, first, second in zip(chosen, records, *sides, strict=True)
    ]


def _sides(
    loaded: LoadedModel,
    records: Sequence[Record],
    scores: PromptScores,
    numbers: Sequence[int],
    seed: int,
) -> list[ExampleSide]:
    likeliest = complete(
        loaded, [Request(r.id, r.prompt) for r in records], Sampling(_TOKENS, ("\n",))
    )
    draws = [Request(f"{r.id} {draw}", r.prompt) for r in records for draw in range(DRAWS)]
    drawn = complete(loaded, draws, Sampling(_TOKENS, ("\n",), temperature=1.0, seed=seed))
    sides: list[ExampleSide] = []
    for place, (record, number) in enumerate(zip(records, numbers, strict=True)):
        written = drawn[place * DRAWS : (place + 1) * DRAWS]
        genders = [written_gender(record, one.text) for one in written]
        sides.append(
            {
                "share_female": float(scores.share[number]),
                "gender_mass": float(scores.mass[number]),
                "text": likeliest[place].text,
                "women": genders.count("female"),
                "men": genders.count("male"),
            }
        )
    return sides
