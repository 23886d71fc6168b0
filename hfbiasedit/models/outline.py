"""A model without its weights: what its configuration and its tokenizer say, on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hfbiasedit.errors import BiasEditError, first_line
from hfbiasedit.models.configuration import check_causal, load_config
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.models.placement import parse_dtype
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.models.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from hfbiasedit.hub.source import ModelSource
    from hfbiasedit.models.options import ModelOptions


def outline(model: str | Path, options: ModelOptions) -> LoadedModel:
    """The model on the meta device; of a Hub model all but the weights is fetched.

    Raises:
        BiasEditError: anything is wrong with the model or the options, in one line.
    """
    source = resolve_model(model, options.revision, weights=False)
    config = load_config(source, options.trust_remote_code)
    check_causal(source, config, options.trust_remote_code)
    tokenizer = load_tokenizer(source, options.trust_remote_code)
    return outline_of(source, config, tokenizer, options)


def outline_of(
    source: ModelSource,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    options: ModelOptions,
) -> LoadedModel:
    """The same from a configuration and a tokenizer.

    Raises:
        BiasEditError: the model is quantised, or its class cannot be set up without weights.
    """
    from transformers import AutoModelForCausalLM

    if getattr(config, "quantization_config", None):
        raise BiasEditError(
            "the model is quantised and its weights cannot be edited; "
            "edit the 16-bit original and quantise afterwards"
        )
    wanted = parse_dtype(options.dtype)
    dtype = wanted if isinstance(wanted, torch.dtype) else config.dtype or torch.float32
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, dtype=dtype, trust_remote_code=options.trust_remote_code
            )
    except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
        raise BiasEditError(
            f"{source.id} cannot be set up without its weights: {first_line(error)}"
        ) from error
    model.eval().requires_grad_(False)
    return LoadedModel(model, tokenizer, source, str(dtype).removeprefix("torch."))
