"""Cut documents into overlapping windows in which every token is scored exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Window:
    """Tokens of one forward pass; the last `scored` of them are predicted from those before."""

    document: int
    ids: tuple[int, ...]
    scored: int


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Token ids of every document and the number of bytes that its predicted tokens stand for.

    A document begins with the BOS token, else with the EOS token (which then marks where one
    document ends and the next begins), so that its first token is predicted too. Without either,
    the first token is context only, and its bytes do not count.
    """
    start = tokenizer.bos_token_id
    if start is None:
        start = tokenizer.eos_token_id
    sequences, sizes = [], []
    for text in texts:
        ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        size = len(text.encode("utf-8", "surrogatepass"))
        if start is None:
            size -= len(str(tokenizer.decode(ids[:1])).encode("utf-8", "surrogatepass"))
        sequences.append(ids if start is None else [start, *ids])
        sizes.append(max(0, size))
    return sequences, sizes


def cut_windows(sequences: Sequence[Sequence[int]], length: int, stride: int) -> Iterator[Window]:
    """Windows of at most `length` tokens that move on by `stride`, which is less than `length`.

    The first window of a document predicts all its tokens but the first; every later one predicts
    the tokens that are new in it, at most `stride`, and has the rest as context.
    """
    for document, ids in enumerate(sequences):
        done = 1
        end = min(length, len(ids))
        while done < len(ids):
            begin = max(0, end - length)
            yield Window(document, tuple(ids[begin:end]), end - done)
            done, end = end, min(end + stride, len(ids))


def batches(windows: Sequence[Window], rows: int) -> Iterator[list[Window]]:
    """Windows of like length together, longest first; the plan depends on the text alone."""
    order = sorted(range(len(windows)), key=lambda index: (-len(windows[index].ids), index))
    for start in range(0, len(order), rows):
        yield [windows[index] for index in order[start : start + rows]]
