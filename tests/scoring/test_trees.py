from __future__ import annotations

import random

import numpy as np
import pytest

from hfbiasedit.scoring import trees
from hfbiasedit.scoring.continuations import EncodedPrompt


def random_prompts(seed: int) -> list[EncodedPrompt]:
    rng = random.Random(seed)

    def some(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3) for _ in range(rng.randint(low, high)))

    return [
        EncodedPrompt(some(1, 12), (some(1, 3),), (some(1, 3), some(1, 4)))
        for _ in range(rng.randint(1, 40))
    ]


def sequences(prompt: EncodedPrompt) -> set[tuple[int, ...]]:
    """All a prompt needs the next token's probability after."""
    return {prompt.context + tail[:size] for tail in prompt.tails for size in range(len(tail))}


@pytest.mark.parametrize("seed", range(15))
def test_every_prefix_stands_once_and_every_node_is_found(seed):
    prompts = random_prompts(seed)
    tree = trees.grow(prompts)
    needed = {one for prompt in prompts for one in sequences(prompt)}
    prefixes = {one[:size] for one in needed for size in range(1, len(one) + 1)}
    read = {place: path_to(tree, place) for place in range(len(tree.tokens))}
    assert sorted(read.values()) == sorted(prefixes)
    for (number, path), place in tree.places.items():
        assert read[place] == prompts[number].context + path
    found = {(number, read[place]) for (number, _), place in tree.places.items()}
    assert found == {(n, one) for n, prompt in enumerate(prompts) for one in sequences(prompt)}


def path_to(tree: trees.Tree, place: int) -> tuple[int, ...]:
    """Tokens from the root to a place, from depths alone: the last one of every smaller depth."""
    path = [int(tree.tokens[place])]
    depth = tree.depths[place]
    for before in range(place - 1, -1, -1):
        if tree.depths[before] == depth - 1:
            path.append(int(tree.tokens[before]))
            depth -= 1
    return tuple(reversed(path))


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("width", [4, 32])
def test_windows_show_each_token_its_own_past_and_nothing_else(monkeypatch, seed, width):
    monkeypatch.setattr(trees, "_WINDOW", width)
    tree = trees.grow(random_prompts(seed))
    past: dict[int, set[int]] = {}
    for part in trees.windows(tree):
        for queries, keys, sees in zip(part.queries, part.keys, part.sees, strict=True):
            for query, row in zip(queries, sees, strict=True):
                seen = keys[row].tolist()
                assert len(seen) == len(set(seen))
                assert past.setdefault(int(query), set(seen)) == set(seen)
    assert past.keys() == set(range(len(tree.tokens)))
    for place, seen in past.items():
        tokens = [int(tree.tokens[key]) for key in sorted(seen)]
        assert tuple(tokens) == path_to(tree, place)
        assert [int(tree.depths[key]) for key in sorted(seen)] == list(range(len(seen)))


def test_windows_run_together_with_their_like():
    long = EncodedPrompt(tuple(range(300)), ((1,),), ((2,),))
    short = [EncodedPrompt((1000 + n, *range(20)), ((1,),), ((2,),)) for n in range(40)]
    parts = trees.windows(trees.grow([long, *short]))
    for part in parts:
        counts = part.sees.any(axis=1).sum(axis=1)
        assert counts.max() <= 1.25 * counts.min()
    assert sum(len(part.queries) for part in parts) == int(np.ceil((300 + 40 * 21) / 32))


@pytest.mark.parametrize("seed", range(5))
def test_a_rounded_tree_has_tokens_besides_that_nothing_sees(seed):
    tree = trees.grow(random_prompts(seed))
    more = trees.rounded(tree)
    size = len(tree.tokens)
    assert size <= len(more.tokens) <= 1.125 * size + 1
    assert more.places == tree.places
    for name in ("tokens", "depths", "ends"):
        assert (getattr(more, name)[:size] == getattr(tree, name)).all()
    for part in trees.windows(more):
        asking, asked = part.queries[:, :, None], part.keys[:, None, :]
        behind = (asking >= size) | (asked >= size)
        assert (part.sees <= (~behind | (asking == asked))).all()


def test_trees_are_rounded_to_few_sizes():
    sizes = set()
    for size in range(513, 1025):
        places = np.arange(size)
        tree = trees.rounded(trees.Tree(places, places, np.full(size, size), {}))
        sizes.add(len(tree.tokens))
    assert sizes == set(range(576, 1025, 64))
