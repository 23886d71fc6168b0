"""A name for the content of a model's weights, so that results of one are never served for another.

The weights of a Hub model are identified by repository and commit, which the Hub guarantees. Those
of a local directory are identified by the SHA-256 of every weight file and of the configuration
and tokenizer files: an edit of a few rows in place changes neither header nor size, and a copy or
a coarse clock keeps times, so nothing less than the whole content will do. A gigabyte takes a
second or less.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from hfbiasedit.files import canonical_json, sha256_file
from hfbiasedit.hub.source import ModelSource

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


def weights_identity(source: ModelSource) -> str:
    """A name for a model's content: repository and commit, or a digest of the files."""
    if source.commit is not None:
        return f"{source.id.partition('@')[0]}@{source.commit}"
    files = sorted({path for pattern in _CONTENT for path in source.path.glob(pattern)})
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(sha256_file, files))
    content = {path.name: digest for path, digest in zip(files, digests, strict=True)}
    return "sha256:" + hashlib.sha256(canonical_json(content).encode()).hexdigest()
