"""What an adapter changes against the patch, measured with the real peft on code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hfbiasedit.documents.structures.adapter_document import LogitDifference
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.loading import LoadedModel, load_model
from hfbiasedit.texts.corpus import load_corpus

if TYPE_CHECKING:
    from hfbiasedit.patches.finding import Base
    from hfbiasedit.patches.patch import Patch

_TEXTS = 8  # beginnings of files of the corpus that ships
_TOKENS = 128  # of each


def logit_differences(base: Base, patch: Patch, folder: Path) -> list[LogitDifference]:
    """Logits of base model and adapter against those of the patched model, in two dtypes.

    Args:
        base: the base model, which is loaded twice, one after the other.
        patch: the edit.
        folder: the adapter's directory.

    Returns:
        float32, then the checkpoint's own dtype (one entry where they are the same).

    Raises:
        BiasEditError: peft is not installed, or cannot load the adapter.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise BiasEditError("--check needs peft: pip install peft") from error
    loaded = load_model(base.model, revision=base.revision)
    texts = _tokens(loaded)
    patch.apply_(loaded)
    patched = _in_both(loaded.model, texts)
    del loaded
    loaded = load_model(base.model, revision=base.revision)
    try:
        adapted = PeftModel.from_pretrained(loaded.model, str(folder)).eval()
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise BiasEditError(f"peft does not load the adapter: {error}") from error
    found = _in_both(adapted, texts)
    return [_difference(dtype, patched[dtype], found[dtype]) for dtype in patched]


def _tokens(loaded: LoadedModel) -> list[Tensor]:
    """Token ids [1, n] of the beginnings of some files."""
    found = []
    for text in load_corpus().texts[:_TEXTS]:
        ids = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
        found.append(ids[:, :_TOKENS].to(loaded.device))
    return found


@torch.no_grad()
def _in_both(model: Any, texts: list[Tensor]) -> dict[str, Tensor]:
    """Logits [tokens, vocabulary] in float32 and in the model's dtype, by the dtype's name.

    float32 comes first: going to 16 bits rounds an adapter too, as it is rounded in a server.
    """
    found = {}
    for dtype in dict.fromkeys([torch.float32, model.dtype]):
        model.to(dtype)
        logits = [model(input_ids=ids, use_cache=False).logits[0].float().cpu() for ids in texts]
        found[str(dtype).removeprefix("torch.")] = torch.cat(logits)
    return found


def _difference(dtype: str, patched: Tensor, adapted: Tensor) -> LogitDifference:
    distance = (patched - adapted).abs()
    return {
        "dtype": dtype,
        "tokens": len(patched),
        "largest": float(distance.max()),
        "mean": float(distance.mean()),
        "top1_changed": float((patched.argmax(-1) != adapted.argmax(-1)).float().mean()),
    }
