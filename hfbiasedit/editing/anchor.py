"""General code that an edit must leave alone: where it comes from and how it becomes tensors."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hfbiasedit.editing.objective import Original
from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import data_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FIELDS = ("text", "content", "code")
_MOST_DOCUMENTS = 2000


@dataclass(frozen=True)
class Anchor:
    """Documents of general code; `sha256` is of their contents."""

    name: str
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the documents in order."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()


@dataclass(frozen=True)
class Windows:
    """`W` windows of at most `T` tokens [W, T] (padded on the right) and their lengths [W].

    `position` lists N places (window `sequence[n]`, token `position[n]`) whose next-token
    distribution is compared; `original` is the original model's there. `hidden`: see `PromptBatch`.
    """

    input_ids: Tensor
    lengths: Tensor
    sequence: Tensor
    position: Tensor
    original: Original | None = None
    hidden: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lengths)


def load_anchor(source: str | Path | None = None) -> Anchor:
    """The default anchor, a file (JSONL with `text`, or any text file), or a Hub dataset id.

    Raises:
        BiasEditError: the source does not exist, cannot be read, or holds no text.
    """
    if source is None:
        path = data_path("anchor", "code.jsonl")
        return Anchor("hfbiasedit/anchor", tuple(_read_jsonl(path)))
    path = Path(source)
    if path.is_file():
        texts = _read_jsonl(path) if path.suffix == ".jsonl" else [_read(path)]
    elif path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file())
        texts = [_read(item) for item in files[:_MOST_DOCUMENTS]]
    elif path.is_absolute() or path.suffix or len(path.parts) > 2:
        raise BiasEditError(
            f"anchor {source} does not exist; give a file, a folder or a dataset id"
        )
    else:
        texts = _from_hub(str(source))
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise BiasEditError(f"anchor {source} holds no text")
    return Anchor(str(source), tuple(texts))


def cut_windows(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    count: int,
    length: int,
    places: int,
    seed: int,
) -> Windows:
    """At most `count` windows spread over the documents, with `places` places each, by seed.

    Raises:
        BiasEditError: no document is long enough for a window of eight tokens.
    """
    rng = random.Random(seed)
    bos = tokenizer.bos_token_id
    prefix = [bos] if bos is not None and _adds_bos(tokenizer) else []
    per_document = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        room = length - len(prefix)
        pieces = [prefix + ids[start : start + room] for start in range(0, len(ids), room)]
        pieces = [piece for piece in pieces if len(piece) >= 8]
        rng.shuffle(pieces)
        per_document.append(pieces)
    rng.shuffle(per_document)
    deepest = max((len(pieces) for pieces in per_document), default=0)
    # One window of every document before a second of any: variety counts more than length.
    rows = [
        pieces[turn] for turn in range(deepest) for pieces in per_document if turn < len(pieces)
    ]
    rows = rows[:count]
    if not rows:
        raise BiasEditError(
            "the anchor has no document of at least eight tokens; give a longer one"
        )
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows])
    where = []
    for number, row in enumerate(rows):
        options = range(len(row) - 1)  # places with a next token
        chosen = rng.sample(options, min(places, len(options)))
        where += [(number, position) for position in sorted(chosen)]
    table = torch.tensor(where)
    lengths = torch.tensor([len(row) for row in rows])
    return Windows(ids, lengths, table[:, 0].clone(), table[:, 1].clone())


def choose(windows: Windows, index: Sequence[int]) -> Windows:
    """Some of the windows, as a set of their own."""
    rows = torch.tensor(list(index))
    renumber = torch.full((len(windows),), -1)
    renumber[rows] = torch.arange(len(rows))
    kept = renumber[windows.sequence] >= 0
    original = windows.original and Original(
        windows.original.tokens[kept], windows.original.log_probabilities[kept]
    )
    longest = int(windows.lengths[rows].max())
    hidden = None if windows.hidden is None else windows.hidden[rows, :longest]
    # Places are ordered by window, and `rows` is used in ascending order, so they stay aligned.
    return Windows(
        windows.input_ids[rows, :longest],
        windows.lengths[rows],
        renumber[windows.sequence[kept]],
        windows.position[kept],
        original,
        hidden,
    )


def _adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BiasEditError(f"cannot read the anchor {path}: {error.strerror or error}") from error


def _read_jsonl(path: Path) -> list[str]:
    texts = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BiasEditError(f"{path} line {number} is not JSON: {error}") from error
        texts.append(_text_of(row, f"{path} line {number}"))
    return texts


def _text_of(row: object, where: str) -> str:
    if isinstance(row, dict):
        for name in _FIELDS:
            if isinstance(row.get(name), str):
                return row[name]
    raise BiasEditError(f"{where} has no text; it needs one of the fields {', '.join(_FIELDS)}")


def _from_hub(name: str) -> list[str]:
    from itertools import islice

    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
        return [_text_of(row, f"dataset {name}") for row in islice(rows, _MOST_DOCUMENTS)]
    except BiasEditError:
        raise
    except Exception as error:  # the loader raises its own, the Hub's and the file formats' errors
        reason = str(error).strip().split("\n")[0]
        raise BiasEditError(
            f"cannot load the anchor dataset {name}: {reason}; give a file instead"
        ) from error
