"""General code that an edit must leave alone, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfbiasedit.errors import BiasEditError
from hfbiasedit.resources import data_path
from hfbiasedit.texts.files import read_documents
from hfbiasedit.texts.sources import MOST_DOCUMENTS, first_rows, read_texts, text_of, texts_digest

_FIELDS = ("text", "content", "code")


@dataclass(frozen=True)
class Anchor:
    """Documents of general code; `sha256` is of their contents."""

    name: str
    texts: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the documents in order."""
        return texts_digest(self.texts)


def load_anchor(source: str | Path | None = None) -> Anchor:
    """The default anchor, a file of code or JSONL, a folder of code, or a Hub dataset id.

    Raises:
        BiasEditError: the source does not exist, cannot be read, or holds no text.
    """
    if source is None:
        path = data_path("anchor", "code.jsonl")
        return Anchor("hfbiasedit/anchor", tuple(read_texts(path, _FIELDS)))
    path = Path(source)
    if path.exists():
        _, texts = read_documents(path, _FIELDS)
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


def check_anchor(source: str | Path | None) -> None:
    """`load_anchor` before the work, as far as that is quick: files are read, data sets looked up.

    Raises:
        BiasEditError: a file or folder cannot be used, or the Hub has no such data set, cannot be
            reached, or is not to be asked (HF_HUB_OFFLINE).
    """
    if source is None:
        return
    path = Path(source)
    if path.exists() or path.is_absolute() or path.suffix or len(path.parts) > 2:
        load_anchor(source)
        return
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(str(source), timeout=10)
    except Exception as error:  # names, networks, answers: whatever it is, loading meets it too
        reason = str(error).strip().split("\n")[0]
        raise BiasEditError(
            f"anchor {source} is no file or folder here, and not to be had as a data set of the "
            f"Hub: {reason}"
        ) from error


def _from_hub(name: str) -> list[str]:
    rows = first_rows(name, None, "train", MOST_DOCUMENTS)
    return [text_of(row, f"dataset {name}", _FIELDS) for row in rows]
