"""The code that perplexity is measured on: where it comes from, and that no edit has seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import data_path
from hfbiasedit.texts.files import read_documents
from hfbiasedit.texts.sources import first_rows, text_of, texts_digest

_RUN = 3  # lines that must agree in a row to count as the same code
_SHORTEST_LINE = 8  # characters; shorter lines (`else:`, `}`) say nothing
_MOST_SHARED = 0.05  # of a document's runs: boilerplate may agree by chance
_FIELDS = ("content", "text", "code")


@dataclass(frozen=True)
class Corpus:
    """Documents of code with their names."""

    name: str
    names: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the documents in order."""
        return texts_digest(self.texts)

    @property
    def bytes(self) -> int:
        """Size of all documents in UTF-8."""
        return sum(len(text.encode("utf-8", "surrogatepass")) for text in self.texts)


def load_corpus(
    text: Path | None = None,
    *,
    limit: int | None = None,
    dataset: str | None = None,
    dataset_config: str | None = None,
    split: str = "test",
    field: str = "content",
    documents: int = 200,
) -> Corpus:
    """The text to measure: a dataset, else a file or folder, else the corpus that ships.

    Args:
        text: file or folder of code. limit: at most so many documents, the first ones.
        dataset: Hub dataset; its text is in the column `field`.
        dataset_config, split: of that dataset. documents: most documents taken from it.

    Raises:
        BiasEditError: it does not exist, cannot be read, or holds no text.
    """
    if dataset is not None:
        corpus = _from_hub(dataset, dataset_config, split, field, documents)
    elif text is not None:
        corpus = _from_disk(Path(text))
    else:
        folder = data_path("ability", "corpus")
        corpus = _corpus("hfbiasedit/corpus", folder)
    kept = [(n, t) for n, t in zip(corpus.names, corpus.texts, strict=True) if t.strip()]
    kept = kept[:limit]
    if not kept:
        raise BiasEditError(f"{corpus.name} holds no text to measure perplexity on")
    names, texts = zip(*kept, strict=True)
    return Corpus(corpus.name, names, texts)


def refuse_overlap(corpus: Corpus, anchor_name: str, anchor_texts: Sequence[str]) -> None:
    """Make sure that no document repeats code that an edit was anchored on.

    Lines are compared without white space at their ends and case; a document counts as seen when
    more than 5 % of its runs of three telling lines occur in the anchor.

    Raises:
        BiasEditError: documents overlap; the message names the first.
    """
    seen: set[int] = set()
    for text in anchor_texts:
        seen.update(_runs(text))
    for name, text in zip(corpus.names, corpus.texts, strict=True):
        runs = _runs(text)
        shared = len(runs & seen)
        if shared and shared > _MOST_SHARED * len(runs):
            raise BiasEditError(
                f"{name} of {corpus.name} repeats code of the anchor {anchor_name}, which the edit "
                "was told to keep: its perplexity would flatter the edit; give another text"
            )


def _runs(text: str) -> set[int]:
    """Hashes of all runs of `_RUN` telling lines; a shorter document is one run."""
    lines = [" ".join(line.lower().split()) for line in text.splitlines()]
    lines = [line for line in lines if len(line) >= _SHORTEST_LINE]
    if not lines:
        return set()
    last = max(1, len(lines) - _RUN + 1)
    return {hash(tuple(lines[start : start + _RUN])) for start in range(last)}


def _from_disk(path: Path) -> Corpus:
    if not path.exists():
        raise BiasEditError(f"text {path} does not exist; give a file or a folder of code")
    corpus = _corpus(str(path), path)
    if not corpus.texts:
        raise BiasEditError(f"{path} holds no files of code")
    return corpus


def _corpus(name: str, path: Path) -> Corpus:
    names, texts = read_documents(path, _FIELDS)
    return Corpus(name, tuple(names), tuple(texts))


def _from_hub(
    name: str, dataset_config: str | None, split: str, field: str, documents: int
) -> Corpus:
    rows = first_rows(name, dataset_config, split, documents)
    texts = tuple(text_of(row, f"dataset {name}", (field,)) for row in rows)
    return Corpus(f"{name}/{split}", tuple(f"row {n}" for n in range(len(texts))), texts)
