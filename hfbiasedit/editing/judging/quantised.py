"""Whether an edit survives quantising: the original and the edited model, both rounded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from hfbiasedit.audits import auditor
from hfbiasedit.console import message
from hfbiasedit.documents.structures.edit_document import QuantizedCheck
from hfbiasedit.editing.judging.outcome import compare_scores
from hfbiasedit.editing.keeping import Kept
from hfbiasedit.models.quantising import quantise, restored, rounded_weights
from hfbiasedit.patches.memory import edited_parameters

if TYPE_CHECKING:
    from hfbiasedit.codegenbias.prompts import PromptSet
    from hfbiasedit.models.loading import LoadedModel
    from hfbiasedit.patches.patch import Patch


def check_quantised(
    original: LoadedModel,
    edited: LoadedModel,
    patch: Patch,
    prompts: PromptSet,
    methods: Sequence[str],
    seed: int,
    kept: Kept,
) -> list[QuantizedCheck]:
    """The FB-Scores of both models, quantised in each of the ways.

    Everything happens in the edited model, which is another one afterwards; the original is only
    read. Rounding looks at one matrix at a time, so that the two differ in the edited parameters
    alone, also when they are rounded.

    Args:
        original, edited: the same model without and with the patch.
        patch: between them. prompts: of the audits. methods: names of `models.quantising`.
        seed: of the intervals. kept: takes the results.
    """

    def check(name: str) -> QuantizedCheck:
        message(f"measuring both quantised to {name}")
        names = edited_parameters(original, patch)
        quantise(restored(edited, original, patch.apply_), name)
        assert edited.quantized is not None
        after = auditor.measure(edited, prompts, seed=seed)
        with torch.no_grad():
            for key, value in rounded_weights(original, names, name).items():
                edited.model.get_parameter(key).copy_(value)
        before = auditor.measure(edited, prompts, seed=seed)
        return {
            "method": name,
            "quantized": edited.quantized,
            "split": prompts.split,
            **compare_scores(before.scores, after.scores, seed),
        }

    return [kept.facts(f"quantised-{name}", partial(check, name)) for name in methods]
