"""A name for the content of a model's weights, so that results of one are never served for another.

The weights of a Hub model are identified by repository and commit, which the Hub guarantees. Those
of a local directory are identified by the SHA-256 of every weight file and of the configuration
and tokenizer files, the chat template among them: an edit of a few rows in place changes neither
header nor size, and a copy or a coarse clock keeps times, so nothing less than the whole content
will do. A gigabyte takes a second or less.

generation_config.json is not among them: no score depends on it. Of what it says only the tokens
that end a text are heeded when a model writes, and whoever keeps completions keeps those beside.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from hfbiasedit.console import tracked
from hfbiasedit.files import canonical_json, sha256_file
from hfbiasedit.hub.source import ModelSource

if TYPE_CHECKING:
    import torch

_TOKENIZER = (
    "tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json",
    "*.tiktoken", "tekken.json", "*.jinja",
)  # fmt: skip
_BESIDE_WEIGHTS = ("config.json", *_TOKENIZER, "*.py")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")
_CONTENT = (*_WEIGHTS, *_BESIDE_WEIGHTS)


def weights_identity(source: ModelSource) -> str:
    """A name for a model's content: repository and commit, or a digest of the files."""
    if source.commit is not None and source.gguf is None:
        return f"{source.id.partition('@')[0]}@{source.commit}"
    files = content_files(source)
    with ThreadPoolExecutor(max_workers=4) as pool:
        hashed = pool.map(sha256_file, files)
        digests = list(tracked(hashed, f"hashing {source.id}", len(files)))
    content = {path.name: digest for path, digest in zip(files, digests, strict=True)}
    return "sha256:" + hashlib.sha256(canonical_json(content).encode()).hexdigest()


def content_files(source: ModelSource) -> list[Path]:
    """The files of a model that a digest of it is over."""
    patterns = _CONTENT if source.gguf is None else _BESIDE_WEIGHTS
    files = sorted(
        path for path in source.path.glob("*") if path.is_file() and _is_like(path.name, patterns)
    )
    return files if source.gguf is None else [*files, source.gguf]


def is_content(path: str) -> bool:
    """Whether a file of a repository, at this path, would be among `content_files`."""
    return "/" not in path and _is_like(path, _CONTENT)


def _is_like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def memory_identity(model: torch.nn.Module) -> str:
    """A name for weights that are in memory only: a digest of names, shapes, dtypes and values.

    Weights that cannot be read here, such as those of a model spread over several processes, get a
    name that no other has.
    """
    digest = hashlib.sha256()
    try:
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(_bytes_of(tensor))
    except (NotImplementedError, RuntimeError, TypeError):
        return f"memory:{uuid.uuid4().hex}"
    return f"tensors:{digest.hexdigest()}"


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """What a tensor holds, row by row."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
