"""A model that is in memory already, such as one in training, lent to be measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.configuration import check_causal
from hfbiasedit.models.loading import LoadedModel, quantization_name

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What wrappers call the model inside them (data parallel, compiled).
_INSIDE = ("module", "_orig_mod")


@contextmanager
def borrowed(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> Iterator[LoadedModel]:
    """A live model as one that can be measured: in eval mode, and as it was when the block ends.

    Args:
        model: a causal language model of transformers; peft adapters, and wrappers of
            data-parallel or compiled models, may be around it.
        tokenizer: its tokenizer.

    Raises:
        UsageError: there is no tokenizer. BiasEditError: it is no such model.
    """
    if tokenizer is None:
        raise UsageError("a model in memory comes without its tokenizer; give tokenizer=...")
    inner = _inner(model)
    training = [module for module in inner.modules() if module.training]
    inner.eval()
    from hfbiasedit.models.architecture import QUANTIZED

    quantized = getattr(inner, QUANTIZED, None)
    stored = quantization_name(getattr(inner.config, "quantization_config", None))
    try:
        yield LoadedModel(
            model=inner,
            tokenizer=tokenizer,
            source=_source(inner),
            dtype=str(inner.dtype).removeprefix("torch."),
            quantization=stored if quantized is None else quantized["method"],
            quantized=quantized,
            in_memory=True,
        )
    finally:
        for module in training:
            module.training = True


def _source(model: PreTrainedModel) -> ModelSource:
    """What the model was made from, or its class; its weights may have changed since."""
    name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    return ModelSource(id=name, path=Path(name))


def _inner(model: Any) -> PreTrainedModel:
    from transformers import PreTrainedModel

    while not isinstance(model, PreTrainedModel):
        inside = _adapted(model) or next(filter(None, (_part(model, n) for n in _INSIDE)), None)
        if inside is None:
            raise BiasEditError(
                f"a {type(model).__name__} cannot be measured; give a model of transformers, its "
                "name on the Hub, or its directory"
            )
        model = inside
    if not model.can_generate():  # decided by its class: a bare body, an encoder
        raise BiasEditError(
            f"a {type(model).__name__} does not go on with a text; give a causal language model"
        )
    if type(model.config).__module__.startswith("transformers."):  # others are not in its tables
        check_causal(_source(model), model.config, trust_remote_code=True)
    return model


def _part(model: Any, name: str) -> torch.nn.Module | None:
    from torch import nn

    found = getattr(model, name, None)
    return found if isinstance(found, nn.Module) else None


def _adapted(model: Any) -> Any:
    """The model that a peft model has put its adapters into; None for anything else."""
    peft = sys.modules.get("peft")  # whoever has such a model has imported it
    if peft is None or not isinstance(model, peft.PeftModel):
        return None
    if model.active_peft_config.is_prompt_learning:
        raise BiasEditError(
            "an adapter that puts tokens before the prompt cannot be measured; only adapters of "
            "weights can"
        )
    return model.get_base_model()
