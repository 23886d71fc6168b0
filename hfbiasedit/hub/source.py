"""A model's files on this machine: of a local directory, or of a Hub repository at a commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelSource:
    """A model whose files are on this machine.

    Attributes:
        id: The model as the user named it: a Hub id such as `org/name`, or a path.
        path: The local directory that holds `config.json`, the weights and the tokenizer.
        requested_revision: The branch, tag or commit that was asked for, if any.
        commit: The 40-hex commit the files belong to; `None` for a local directory.
        gguf: The file that holds the weights, where those of `path` are not used.
    """

    id: str
    path: Path
    requested_revision: str | None = None
    commit: str | None = None
    gguf: Path | None = None
