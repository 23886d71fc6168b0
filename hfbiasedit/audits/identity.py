"""What makes two audits the same measurement: weights, patch, dtype, prompts and batches.

A partial result is continued only when all of these agree; no score of one model is ever served
for another. The weights of a Hub model are identified by repository and commit, which the Hub
guarantees. Those of a local directory are identified by the SHA-256 of every weight file and of the
configuration and tokenizer files: an edit of a few rows in place changes neither header nor size,
so nothing less than the whole content will do. That reads the weights once more (a gigabyte takes
a second or less), and happens only when there is a partial file.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbiasedit.errors import BiasEditError
from hfbiasedit.files import canonical_json, sha256_file
from hfbiasedit.hub.source import ModelSource

if TYPE_CHECKING:
    from hfbiasedit.models.loading import LoadedModel

_CONTENT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.py",
)
Identity = dict[str, Any]
_NAMES = {
    "weights": "the model",
    "patch": "the patch",
    "dtype": "the dtype",
    "prompts": "the prompts",
    "batch_size": "the batch size",
    "device": "the device",
    "versions": "the versions of torch or transformers",
}


def identity(loaded: LoadedModel, prompts_digest: str, batch_size: int | str) -> Identity:
    """Everything that must agree for two runs to give the same numbers."""
    from hfbiasedit.versions import versions

    installed = versions()
    return {
        "weights": weights_identity(loaded.source),
        "patch": loaded.patch_digest,
        "dtype": loaded.dtype,
        "prompts": prompts_digest,
        "batch_size": str(batch_size),
        "device": str(loaded.device),
        "versions": [installed.get("torch"), installed.get("transformers")],
    }


def weights_identity(source: ModelSource) -> str:
    """A name for a model's content: repository and commit, or a digest of the files."""
    if source.commit is not None:
        return f"{source.id.partition('@')[0]}@{source.commit}"
    files = sorted({path for pattern in _CONTENT for path in source.path.glob(pattern)})
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(sha256_file, files))
    content = {path.name: digest for path, digest in zip(files, digests, strict=True)}
    return "sha256:" + hashlib.sha256(canonical_json(content).encode()).hexdigest()


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
