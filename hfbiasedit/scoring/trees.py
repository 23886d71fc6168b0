"""Prompts as one tree of tokens, and the windows of it that attend to the same few tokens.

Tokens that prompts begin with in common stand in the tree once. They are listed so that what
follows a token stands right behind it: a token's descendants are the stretch from itself to its
`end`, and whether a token sees another is a comparison of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens, common_prefix
from hfbiasedit.scoring.grouping import inner_paths

Node = tuple[int, Tokens]  # a prompt's number and a path after its context

# Tokens whose attention is computed together. Fewer make many small products, more see many tokens
# that are not theirs: measured on a processor, 32 costs least.
_WINDOW = 32
_SIZES = 8  # of batches, between one power of two and the next
_SLACK = 1.25  # windows run together while the longest sees this much more than the shortest


@dataclass(frozen=True)
class Tree:
    """The tokens of some prompts; all arrays are int64 [tokens].

    Attributes:
        tokens: Token ids.
        depths: Position of each token in its sequence, from 0.
        ends: One past the last descendant of each token.
        places: Where the last token of a context and a path after it stands.
    """

    tokens: np.ndarray
    depths: np.ndarray
    ends: np.ndarray
    places: dict[Node, int]


@dataclass(frozen=True)
class Windows:
    """Windows of a tree that see about equally many tokens.

    Attributes:
        queries: Indices of the tokens of each window, int64 [windows, width]; a window that is cut
            short repeats its last one.
        keys: Indices of what they can see at most, int64 [windows, seen], padded with 0.
        sees: Whether a token is seen by another, bool [windows, width, seen].
    """

    queries: np.ndarray
    keys: np.ndarray
    sees: np.ndarray


def grow(prompts: Sequence[EncodedPrompt]) -> Tree:
    """The tree of the prompts' contexts and of what must be fed behind them."""
    sequences = sorted(
        (prompt.context + path, number)
        for number, prompt in enumerate(prompts)
        for path in inner_paths(prompt.tails) or ((),)
    )
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    places: dict[Node, int] = {}
    branch: list[int] = []
    last: Tokens = ()
    for sequence, number in sequences:
        common = common_prefix(last, sequence)
        for done in branch[common:]:
            ends[done] = len(tokens)
        del branch[common:]
        branch += range(len(tokens), len(tokens) + len(sequence) - common)
        tokens += sequence[common:]
        depths += range(common, len(sequence))
        ends += [0] * (len(sequence) - common)
        start = len(prompts[number].context)
        for size in range(start, len(sequence) + 1):
            places[number, sequence[start:size]] = branch[size - 1]
        last = sequence
    for done in branch:
        ends[done] = len(tokens)
    return Tree(np.array(tokens), np.array(depths), np.array(ends), places)


def rounded_up(size: int) -> int:
    """A size of a batch that is no smaller; there are few of them.

    A processor's matrix products are compiled for every number of rows, and what is compiled stays
    in memory for good: half a megabyte for every shape of a matrix.
    """
    step = max(1, (1 << (size - 1).bit_length()) // (2 * _SIZES))
    return size + -size % step


def rounded(tree: Tree) -> Tree:
    """The tree with a few tokens behind it that see nothing and that nothing sees."""
    size = len(tree.tokens)
    more = rounded_up(size) - size
    return Tree(
        np.concatenate([tree.tokens, np.repeat(tree.tokens[-1:], more)]),
        np.concatenate([tree.depths, np.zeros(more, dtype=tree.depths.dtype)]),
        np.concatenate([tree.ends, size + 1 + np.arange(more)]),
        tree.places,
    )


def windows(tree: Tree) -> list[Windows]:
    """Cut a tree into windows of neighbours and gather those that see about equally much."""
    size = len(tree.tokens)
    width = min(_WINDOW, size)
    starts = range(0, size, width)
    # Within a window's reach: what is not over before the window begins.
    seen = [np.flatnonzero(tree.ends[: start + width] > start) for start in starts]
    order = sorted(range(len(seen)), key=lambda number: len(seen[number]))
    found, first = [], 0
    for last in range(1, len(order) + 1):
        shortest = len(seen[order[first]])
        if last == len(order) or len(seen[order[last]]) > _SLACK * shortest:
            chosen = order[first:last]
            found.append(_gathered(tree, width, chosen, [seen[number] for number in chosen]))
            first = last
    return found


def _gathered(tree: Tree, width: int, chosen: Sequence[int], seen: Sequence[np.ndarray]) -> Windows:
    queries = np.array(chosen)[:, None] * width + np.arange(width)
    queries = np.minimum(queries, len(tree.tokens) - 1)
    keys = np.zeros((len(seen), max(len(row) for row in seen)), dtype=np.int64)
    real = np.zeros(keys.shape, dtype=bool)
    for number, row in enumerate(seen):
        keys[number, : len(row)] = row
        real[number, : len(row)] = True
    asking, asked = queries[:, :, None], keys[:, None, :]
    sees = real[:, None, :] & (asked <= asking) & (asking < tree.ends[keys][:, None, :])
    return Windows(queries, keys, sees)
