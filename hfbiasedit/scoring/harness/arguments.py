"""`--backend-args`: a model of lm-evaluation-harness and its arguments, as its users write them.

    local-completions,base_url=http://localhost:8000/v1/completions,num_concurrent=4

MODEL says whose tokenizer and configuration are used, so that no argument may name others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hfbiasedit.errors import BiasEditError, UsageError, unknown

_INSTALL = "lm-eval is not installed; pip install 'hfbiasedit[lm-eval]'"
_OURS = ("pretrained", "tokenizer", "tokenizer_backend", "revision", "batch_size")
_SECRET = ("auth", "token", "header", "key", "secret", "password", "cert")


@dataclass(frozen=True)
class Arguments:
    """What a user wrote.

    Attributes:
        kind: name of the model in lm-evaluation-harness's registry: `local-completions`.
        values: its arguments, in the types that lm-evaluation-harness reads.
    """

    kind: str
    values: Mapping[str, Any]

    def told(self) -> dict[str, Any]:
        """The arguments that may be published: no secrets, no addresses, no paths."""
        return {
            name: value
            for name, value in sorted(self.values.items())
            if not _is_secret(name) and not _is_place(str(value))
        }

    def identity(self) -> dict[str, Any]:
        """The arguments that tell two measurements apart: all but secrets."""
        return {
            name: _without_login(value) if isinstance(value, str) else value
            for name, value in sorted(self.values.items())
            if not _is_secret(name)
        }


def parse_arguments(text: str | None) -> Arguments:
    """Read `--backend-args`.

    Raises:
        UsageError: it names no model, one that there is not, or arguments that MODEL stands for.
        BiasEditError: lm-evaluation-harness is not installed.
    """
    try:
        import lm_eval.models  # noqa: F401 - fills the registry
        from lm_eval.api.registry import model_registry
        from lm_eval.utils import simple_parse_args_string
    except ImportError as error:
        raise BiasEditError(_INSTALL) from error

    kind, _, rest = (text or "").partition(",")
    kind = kind.strip()
    known = sorted(model_registry.keys())
    if not kind or "=" in kind:
        raise UsageError(
            "say which model of lm-eval: --backend-args local-completions,base_url=http://..."
        )
    if kind not in known:
        raise unknown("model of lm-eval", kind, known)
    values = simple_parse_args_string(rest)
    taken = [name for name in _OURS if name in values]
    if taken:
        words = "use --batch-size" if taken[0] == "batch_size" else "MODEL stands for it"
        raise UsageError(f"--backend-args cannot have {taken[0]}: {words}")
    return Arguments(kind, values)


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET)


def _is_place(value: str) -> bool:
    return "://" in value or "\\" in value or value.startswith(("/", ".", "~"))


def _without_login(value: str) -> str:
    parts = urlsplit(value)
    if not parts.scheme or "@" not in parts.netloc:
        return value
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
