"""A model's configuration, and whether it is one of a causal language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError, first_line
from hfbiasedit.files import read_json
from hfbiasedit.hub.source import ModelSource

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# What configurations call their longest input; models without a limit (ALiBi, recurrent ones)
# have none of these.
_CONTEXTS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
_WANTED = "only decoder-only causal language models can be used"


def load_config(source: ModelSource, trust_remote_code: bool) -> PreTrainedConfig:
    """Read a model's configuration.

    Raises:
        BiasEditError: It is missing, damaged, unknown, or needs code that is not allowed.
    """
    from transformers import AutoConfig

    if source.gguf is not None and not (source.path / "config.json").is_file():
        return _of_gguf(source, source.gguf)
    raw = _read_config(source)
    try:
        return AutoConfig.from_pretrained(source.path, trust_remote_code=trust_remote_code)
    except (ValueError, OSError, KeyError, TypeError) as error:
        if raw.get("auto_map") and not trust_remote_code:
            raise _needs_code(source) from error
        kind = raw.get("model_type")
        if kind is None:
            raise BiasEditError(
                f"{source.id} is no model directory: its config.json has no model_type"
            ) from error
        raise BiasEditError(
            f"cannot read the configuration of {source.id} (model_type {kind!r}): "
            f"{first_line(error)}"
        ) from error


def _of_gguf(source: ModelSource, file: Path) -> PreTrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(file.absolute().parent, gguf_file=file.name)
    except (ValueError, OSError, KeyError, TypeError, ImportError) as error:
        raise BiasEditError(
            f"transformers cannot read the configuration in {file.name} of {source.id}: "
            f"{first_line(error)}"
        ) from error


def _read_config(source: ModelSource) -> dict[str, Any]:
    path = source.path / "config.json"
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise BiasEditError(f"{path} is no model configuration: it holds no JSON object")
    return raw


def check_causal(source: ModelSource, config: PreTrainedConfig, trust_remote_code: bool) -> None:
    """Refuse models that do not give the probability of a continuation."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
    )

    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise BiasEditError(f"{source.id} is a sequence-to-sequence model ({kind}); {_WANTED}")
    has_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        if has_code and trust_remote_code:
            return
        if has_code:
            raise _needs_code(source)
        raise BiasEditError(f"{source.id} is no causal language model ({kind}); {_WANTED}")
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise BiasEditError(f"{source.id} is an encoder ({kind}); {_WANTED}")


def stated_context(config: PreTrainedConfig) -> int | None:
    """Most tokens that a configuration says its model takes at once; None for no limit."""
    stated = [getattr(config.get_text_config(), name, None) for name in _CONTEXTS]
    return min((value for value in stated if type(value) is int and value > 0), default=None)


def _needs_code(source: ModelSource) -> BiasEditError:
    return BiasEditError(
        f"{source.id} needs Python code from its own repository; "
        "read that code, then allow it with --trust-remote-code"
    )
