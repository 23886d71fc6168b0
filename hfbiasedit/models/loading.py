"""Loading a causal language model and its tokenizer for measuring and editing.

Whatever can be wrong with a model directory is said in one line, before or instead of the
library's own traceback.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfbiasedit.console import progress
from hfbiasedit.documents.structures.shared import Gguf, Model, Quantized
from hfbiasedit.errors import BiasEditError, first_line, listed
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models import gguf
from hfbiasedit.models.configuration import check_causal, load_config
from hfbiasedit.models.gguf import resolve_source
from hfbiasedit.models.options import MeasuringOptions, MeasuringOverrides, ModelOptions
from hfbiasedit.models.placement import parse_device, parse_dtype
from hfbiasedit.models.tokenizers import is_inside, load_tokenizer
from hfbiasedit.startup import settled

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from typing_extensions import Unpack

# Another program may have fetched an adapter into the same folder of the Hub cache: transformers
# is sent to look for adapters where none can be.
_NO_ADAPTER = {"subfolder": os.devnull}


@dataclass
class LoadedModel:
    """A model ready to be measured: in eval mode, no parameter requires a gradient.

    Attributes:
        model: The causal language model.
        tokenizer: Its tokenizer.
        source: Where its files came from.
        dtype: Name of the dtype its weights are held in, such as `bfloat16`.
        quantization: Name of the quantisation method, if the weights are quantised.
        quantized: How, where that was done in memory (`models.quantising`).
        gguf: The file that the weights are from, if they are from one.
        in_memory: Whether the weights are those of no file: of a model in training, say.
    """

    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    source: ModelSource
    dtype: str
    quantization: str | None = None
    quantized: Quantized | None = None
    gguf: Gguf | None = None
    in_memory: bool = False

    @property
    def patch_digest(self) -> str | None:
        """Digest of the patch applied in memory, if one is; of several, one of their digests.

        The model itself is marked, so that it does not matter whom a patch was applied to. None
        where the weights are those of no file: their own digest speaks of them as they are.
        """
        from hfbiasedit.models.architecture import PATCHED

        found = () if self.in_memory else getattr(self.model, PATCHED, ())
        if len(found) > 1:
            return hashlib.sha256("\n".join(found).encode()).hexdigest()
        return found[0] if found else None

    @patch_digest.setter
    def patch_digest(self, digest: str | None) -> None:
        from hfbiasedit.models.architecture import PATCHED

        setattr(self.model, PATCHED, () if digest is None else (digest,))

    @property
    def device(self) -> torch.device:
        """The device that takes the token ids; of a model that is spread out, where it computes."""
        import torch

        device = self.model.device
        if device.type != "meta":
            return device
        # Weights that wait on disk or in main memory have no device of their own.
        places = getattr(self.model, "hf_device_map", {}).values()
        return torch.device(next((p for p in places if p not in ("cpu", "disk")), "cpu"))

    @cached_property
    def identity(self) -> str:
        """A name for the content of the checkpoint; see `models.provenance`. Read once."""
        from hfbiasedit.models.provenance import memory_identity, weights_identity

        return memory_identity(self.model) if self.in_memory else weights_identity(self.source)

    def describe(self) -> Model:
        """The model's part of a report."""
        about: Model = {
            "id": self.source.id,
            "revision": self.source.commit,
            "digest": self.identity,
            "dtype": self.dtype,
            "parameters": self.parameters,
            "architecture": type(self.model).__name__,
            "device": str(self.device),
            "quantization": self.quantization,
        }
        if self.quantized is not None:
            about["quantized"] = self.quantized
        if self.gguf is not None:
            about["gguf"] = self.gguf
        return about

    @property
    def parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        from hfbiasedit.models.architecture import parameter_count

        return parameter_count(self.model)


def load_model(
    model: str | Path | ModelSource,
    options: ModelOptions | None = None,
    **overrides: Unpack[MeasuringOverrides],
) -> LoadedModel:
    """Load a causal language model.

    Args:
        model: Hub id, local directory, or a source that is resolved already.
        options: How; the configuration of a command is one. `overrides` replace single ones:
            `load_model("org/name", dtype="bfloat16")`.

    Raises:
        BiasEditError: Anything is wrong with the model or the options, in one line.
    """
    options = replace(cast("MeasuringOptions", options or MeasuringOptions()), **overrides)
    trust = options.trust_remote_code
    torch_dtype = parse_dtype(options.dtype)
    target = None if options.device_map is not None else parse_device(options.device)
    source = model if isinstance(model, ModelSource) else resolve_source(model, options)
    config = load_config(source, trust)
    check_causal(source, config, trust)
    tokenizer = load_tokenizer(source, trust)
    with progress(f"loading {source.id}", None):
        loaded = _load_weights(source, config, torch_dtype, options.device_map, trust)
    if target is not None:
        _move(loaded, target)
    settled()
    loaded.eval()
    loaded.requires_grad_(False)
    file = None if source.gguf is None else gguf.contents(source, is_inside(source))
    stored = quantization_name(getattr(config, "quantization_config", None))
    return LoadedModel(
        model=loaded,
        tokenizer=tokenizer,
        source=source,
        dtype=str(loaded.dtype).removeprefix("torch."),
        quantization=stored if file is None else gguf.quantization(file),
        gguf=file,
    )


def _load_weights(
    source: ModelSource,
    config: PreTrainedConfig,
    dtype: torch.dtype | str,
    device_map: str | dict[str, Any] | None,
    trust_remote_code: bool,
) -> PreTrainedModel:
    import pickle

    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from_gguf: dict[str, Any] = {}
    folder = source.path
    if source.gguf is not None:
        folder, from_gguf = source.gguf.absolute().parent, gguf.loading(source.gguf)
    try:
        with _quiet_progress(), gguf.silent():
            loaded = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                device_map=device_map,
                trust_remote_code=trust_remote_code,
                weights_only=True,
                output_loading_info=True,
                adapter_kwargs=_NO_ADAPTER,
                **from_gguf,
            )
    except pickle.UnpicklingError as error:
        raise BiasEditError(
            f"the weights of {source.id} are a pickle that is damaged or holds more than tensors; "
            "it is not opened"
        ) from error
    except SafetensorError as error:
        raise BiasEditError(
            f"the weights of {source.id} are damaged ({first_line(error)}); fetch them again"
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if "ignore_mismatched_sizes" in str(error):  # the library's line names a table above it
            raise BiasEditError(
                f"the weights of {source.id} have other sizes than the configuration says "
                f"({source.path / 'config.json'}); they are of another model"
            ) from error
        raise BiasEditError(
            f"cannot load the weights of {source.id}: {first_line(error)}"
        ) from error
    model, info = cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)
    missing = sorted(info["missing_keys"])
    if missing:
        raise BiasEditError(
            f"{source.id} lacks weights of a causal language model ({listed(missing, 3)}); "
            "they would be random numbers"
        )
    return model


def _move(model: PreTrainedModel, device: torch.device) -> None:
    import torch

    if model.device == device or getattr(model, "hf_device_map", None):
        return
    try:
        model.to(device)  # type: ignore[arg-type]
    except torch.OutOfMemoryError as error:
        raise BiasEditError(
            f"the model does not fit into the memory of {device}; "
            "use --device-map auto, a smaller --dtype or --device cpu"
        ) from error


def quantization_name(config: Any) -> str | None:
    """Name of the method in a model's `quantization_config`; None where there is none."""
    if not config:
        return None
    method = (
        config.get("quant_method")
        if isinstance(config, dict)
        else getattr(config, "quant_method", None)
    )
    return str(getattr(method, "value", method) or "unknown")


@contextmanager
def _quiet_progress() -> Iterator[None]:
    """Keep loading bars off logs and pipes, and the table of missing weights out of our line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
