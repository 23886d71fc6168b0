"""From a model's name and arguments to a model of lm-evaluation-harness that can be asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hfbiasedit.documents.structures.audit_document import Backend
from hfbiasedit.documents.structures.shared import Model
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.files import canonical_json
from hfbiasedit.hub.layout import ADAPTER
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.configuration import check_causal, load_config, stated_context
from hfbiasedit.models.loading import load_tokenizer
from hfbiasedit.models.resolution import resolve_model
from hfbiasedit.scoring.harness.arguments import Arguments, parse_arguments
from hfbiasedit.scoring.harness.failures import explained

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from hfbiasedit.scoring.options import ScoringOptions

_UNKNOWN = "unknown"  # the dtype that a server computes in
_ROWS = 16  # sequences at a time in this process, where `auto` would try out the largest batch
_LIMIT = 1 << 20  # tokens, of a model that states no limit


@dataclass
class Served:
    """A model that lm-evaluation-harness holds or reaches.

    Attributes:
        lm: that of lm-evaluation-harness. arguments: what it was made from.
        tokenizer, config, source: of MODEL.
    """

    lm: Any
    arguments: Arguments
    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    source: ModelSource
    patch_digest: str | None = None

    @property
    def module(self) -> Any:
        """The torch module, where it is in this process."""
        from torch import nn

        found = getattr(self.lm, "model", None)
        return found if isinstance(found, nn.Module) else None

    @property
    def dtype(self) -> str:
        """Of the weights; `unknown` where only a server knows."""
        dtype = getattr(self.module, "dtype", _UNKNOWN)
        return str(dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """Where the model computes, as far as that is known."""
        return str(getattr(self.module, "device", self.arguments.kind))

    @cached_property
    def identity(self) -> str:
        """A name for what answers: MODEL's content, and the backend with its arguments."""
        from importlib.metadata import version

        from hfbiasedit.models.provenance import weights_identity

        about = [self.arguments.kind, self.arguments.identity(), version("lm_eval")]
        return f"{weights_identity(self.source)} {canonical_json(about)}"

    def describe(self) -> Model:
        """The model's part of a report."""
        names = getattr(self.config, "architectures", None) or [type(self.config).__name__]
        return {
            "id": self.source.id,
            "revision": self.source.commit,
            "dtype": self.dtype,
            "parameters": self._parameters(),
            "architecture": str(names[0]),
            "device": self.device,
            "quantization": None,
        }

    def backend(self, missing: list[str]) -> Backend:
        """The backend's part of a report."""
        from importlib.metadata import version

        return {
            "name": "lm-eval",
            "model": self.arguments.kind,
            "arguments": self.arguments.told(),
            "version": version("lm_eval"),
            "missing": missing,
        }

    def _parameters(self) -> int:
        """Counted in the module, or in one that is set up without weights."""
        import torch
        from transformers import AutoModelForCausalLM

        from hfbiasedit.models.architecture import parameter_count

        module = self.module
        if module is None:
            with torch.device("meta"):
                module = AutoModelForCausalLM.from_config(self.config)
        return parameter_count(module)


def connect(model: str | Path, options: ScoringOptions) -> Served:
    """Make a model of lm-evaluation-harness.

    Args:
        model: Hub id or directory; of what a server serves, only the configuration and the
            tokenizer are fetched.
        options: `backend_args` and the rest.

    Raises:
        UsageError: options that contradict each other.
        BiasEditError: lm-evaluation-harness or what it needs is missing, or cannot make the model.
    """
    arguments = parse_arguments(options.backend_args)
    cls, is_server = _class(arguments.kind)
    if options.device_map is not None:
        raise UsageError(f"{arguments.kind} spreads a model in its own way; leave device_map out")
    source = resolve_model(model, options.revision, weights=not is_server)
    config = load_config(source, options.trust_remote_code)
    check_causal(source, config, options.trust_remote_code)
    tokenizer = load_tokenizer(source, options.trust_remote_code)
    if is_server:
        settings = _server_settings(cls, source, config, options)
    else:
        settings = _local_settings(cls, source, options)
    with silent():
        try:
            lm = cls(**{**settings, **arguments.values})
        except Exception as error:  # code of many libraries
            raise explained(error, arguments.kind, {}) from error
    return Served(lm, arguments, tokenizer, config, source)


def _class(kind: str) -> tuple[Any, bool]:
    """The class of a model, and whether it is a client of a server."""
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import get_model
    from lm_eval.models.api_models import TemplateAPI

    try:
        cls = get_model(kind)
    except Exception as error:  # imports libraries that may be missing
        raise BiasEditError(f"{kind} of lm-eval cannot be used: {error}") from error
    return cls, issubclass(cls, TemplateAPI) or not issubclass(cls, TemplateLM)


def _server_settings(
    cls: type,
    source: ModelSource,
    config: PreTrainedConfig,
    options: ScoringOptions,
) -> dict[str, Any]:
    from lm_eval.api.model import TemplateLM

    if options.dtype != "auto" or options.device != "auto":
        raise UsageError("a server has chosen its dtype and device; leave --dtype and --device out")
    if not issubclass(cls, TemplateLM):  # it has arguments of its own
        return {}
    return {
        "model": source.id.partition("@")[0],
        "tokenizer": str(source.path),
        "tokenizer_backend": "huggingface",
        "trust_remote_code": options.trust_remote_code,
        "batch_size": 1 if options.batch_size == "auto" else int(options.batch_size),
        # One token is generated, and lm-eval takes one off.
        "max_length": (stated_context(config) or _LIMIT) + 1,
    }


def _local_settings(cls: type, source: ModelSource, options: ScoringOptions) -> dict[str, Any]:
    from lm_eval.models.huggingface import HFLM

    if (source.path / ADAPTER).is_file():  # brought into the cache by another program
        raise BiasEditError(
            f"lm-eval would load the adapter in {source.path} too; audit with the built-in engine"
        )
    settings: dict[str, Any] = {
        "pretrained": str(source.path),
        "dtype": options.dtype,
        "trust_remote_code": options.trust_remote_code,
        "batch_size": _ROWS if options.batch_size == "auto" else int(options.batch_size),
    }
    if issubclass(cls, HFLM):
        settings["softmax_dtype"] = "float32"
    if options.device != "auto":
        settings["device"] = options.device
    return settings


@contextmanager
def silent() -> Iterator[None]:
    """Keep the library's bars and log lines off the terminal; failures are told in one line."""
    from lm_eval.models import api_models

    # Requests that are under way when another fails end after this block, each with a traceback.
    logging.getLogger("asyncio").addFilter(_is_told)
    bar, gathered = api_models.tqdm, api_models.tqdm_asyncio
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    api_models.tqdm = partial(bar, disable=True)
    api_models.tqdm_asyncio = SimpleNamespace(gather=partial(gathered.gather, disable=True))
    try:
        yield
    finally:
        api_models.tqdm, api_models.tqdm_asyncio = bar, gathered
        logger.setLevel(level)


def _is_told(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's says something else than that a request failed."""
    return not record.getMessage().startswith("Task exception was never retrieved")
