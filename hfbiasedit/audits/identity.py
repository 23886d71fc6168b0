"""What makes two audits the same measurement: weights, patch, dtype, prompts and batches.

A partial result is continued only when all of these agree. What the weights are is worked out
only when there is a partial file, see `models.provenance`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.extensions import ENGINE

if TYPE_CHECKING:
    from hfbiasedit.scoring.scorer import Subject

Identity = dict[str, Any]
_NAMES = {
    "weights": "the model",
    "patch": "the patch",
    "dtype": "the dtype",
    "prompts": "the prompts",
    "batch_size": "the batch size",
    "scorer": "the backend",
    "chat": "the use of a chat template",
    "quantized": "the quantisation",
    "device": "the device",
    "versions": "the versions of torch or transformers",
}


def identity(
    subject: Subject, prompts_digest: str, batch_size: int | str, backend: str, chat: bool
) -> Identity:
    """Everything that must agree for two runs to give the same numbers."""
    from hfbiasedit.versions import versions

    installed = versions()
    return {
        "weights": subject.identity,
        "patch": subject.patch_digest,
        "dtype": subject.dtype,
        "prompts": prompts_digest,
        "batch_size": str(batch_size),
        # The built-in one has no name here, so that files of earlier versions can be continued.
        "scorer": None if backend == ENGINE else backend,
        "chat": chat or None,
        "quantized": subject.describe().get("quantized"),
        "device": str(subject.device),
        "versions": [installed.get("torch"), installed.get("transformers")],
    }


def check_same(found: Identity, expected: Identity, path: Path) -> None:
    """Refuse a partial file that belongs to another measurement, naming what differs.

    Raises:
        BiasEditError: Something differs.
    """
    differing = [name for key, name in _NAMES.items() if found.get(key) != expected.get(key)]
    if differing:
        raise BiasEditError(
            f"cannot resume from {path}: {', '.join(differing)} changed since it was written; "
            "audit again without --resume"
        )
