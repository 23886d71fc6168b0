from __future__ import annotations

import itertools
import random

import pytest

from hfbiasedit.scoring.continuations import EncodedPrompt, common_prefix
from hfbiasedit.scoring.grouping import (
    Budget,
    Group,
    by_tokens,
    cut,
    inner_paths,
    plan_groups,
    shared_out,
    tree_tokens,
    trees,
)
from hfbiasedit.scoring.trees import grow


def prompts(*contexts: tuple[int, ...]) -> list[EncodedPrompt]:
    return [EncodedPrompt(context, ((1,),), ((2,),)) for context in contexts]


def computed(encoded: list[EncodedPrompt], groups: list[Group], overhead: int) -> int:
    """Tokens a plan computes: grown prefixes, tails, and two passes a group."""
    total, last = 0, ()
    for group in groups:
        total += 2 * overhead
        prefix = encoded[group.members[0]].context[: group.prefix]
        if prefix:
            total += len(prefix) - common_prefix(last, prefix)
            last = prefix
        total += sum(len(encoded[index].context) - group.prefix for index in group.members)
    return total


def random_prompts(seed: int) -> list[EncodedPrompt]:
    rng = random.Random(seed)
    heads = [tuple(rng.randrange(9) for _ in range(rng.randint(0, 40))) for _ in range(4)]
    rows = []
    for _ in range(rng.randint(1, 60)):
        middle = tuple(rng.randrange(2) for _ in range(rng.randint(0, 4)))
        rows.append(
            rng.choice(heads) + middle + tuple(rng.randrange(9) for _ in range(rng.randint(1, 20)))
        )
    return prompts(*rows)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("overhead", [0, 5, 48])
def test_plan_covers_every_prompt_once_and_prefixes_are_shared(seed, overhead):
    encoded = random_prompts(seed)
    groups = plan_groups(encoded, share=True, overhead=overhead)
    assert sorted(i for group in groups for i in group.members) == list(range(len(encoded)))
    for group in groups:
        contexts = [encoded[index].context for index in group.members]
        assert len({context[: group.prefix] for context in contexts}) == 1
        assert all(len(context) > group.prefix for context in contexts)
        assert [len(c) for c in contexts] == sorted(len(c) for c in contexts)
    plain = plan_groups(encoded, share=False, overhead=overhead)
    assert len(plain) == 1
    assert plain[0].prefix == 0
    assert computed(encoded, groups, 0) <= sum(len(prompt.context) for prompt in encoded)


def test_two_templates_make_two_groups_and_nesting_pays():
    first = [(1,) * 50 + (2, number) + (3,) * 20 for number in range(10, 20)]
    second = [(5,) * 40 + (number,) * 20 for number in range(10, 20)]
    encoded = prompts(*first, *second)
    groups = plan_groups(encoded, share=True, overhead=16)
    assert [(group.prefix, len(group.members)) for group in groups] == [(51, 10), (40, 10)]
    one = plan_groups(encoded, share=True, overhead=10_000)
    assert [(group.prefix, len(group.members)) for group in one] == [(0, 20)]


def test_inner_group_splits_off_when_that_is_cheaper():
    outer = [(1,) * 30 + (number,) * 20 for number in range(100, 104)]
    inner = [(1,) * 30 + (2,) * 30 + (number,) * 5 for number in range(100, 120)]
    groups = plan_groups(prompts(*outer, *inner), share=True, overhead=16)
    assert sorted((group.prefix, len(group.members)) for group in groups)[-1] == (60, 20)


def test_plan_depends_on_prompts_only_and_not_on_their_order():
    encoded = random_prompts(3)
    shuffled = list(encoded)
    random.Random(1).shuffle(shuffled)

    def described(items):
        return [
            (group.prefix, [items[index].context for index in group.members])
            for group in plan_groups(items, share=True, overhead=16)
        ]

    assert described(encoded) == described(shuffled)


def test_equal_contexts_and_one_token_prompts():
    encoded = prompts((1, 2, 3), (1, 2, 3), (1,), (1, 2))
    groups = plan_groups(encoded, share=True, overhead=0)
    assert sorted(index for group in groups for index in group.members) == [0, 1, 2, 3]
    assert plan_groups([], share=True, overhead=1) == []


def test_deep_nesting_needs_no_recursion():
    encoded = prompts(*[(1,) * size + (2,) for size in range(1, 1500)])
    groups = plan_groups(encoded, share=True, overhead=4)
    assert sum(len(group.members) for group in groups) == len(encoded)


def test_cut_keeps_within_the_budget_but_never_stops():
    lengths = [1, 1, 2, 5, 5, 6, 50]
    parts = [lengths[part] for part in cut(lengths, Budget(tokens=10, rows=2))]
    assert parts == [[1, 1], [2, 5], [5], [6], [50]]
    assert [lengths[part] for part in cut(lengths, Budget(tokens=10**9, rows=3))] == [
        [1, 1, 2],
        [5, 5, 6],
        [50],
    ]


def test_inner_paths_are_the_longest_ones_needed():
    assert inner_paths([(1,), (2,)]) == ()
    assert inner_paths([(1,), (2, 3), (2, 4), (5, 6, 7), (5, 8)]) == ((2,), (5, 6))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("budget", [1, 30, 100, 1 << 40])
def test_trees_cover_every_prompt_once_within_the_budget(seed, budget):
    encoded = random_prompts(seed)
    parts = list(trees(encoded, by_tokens(encoded), Budget(tokens=budget, rows=1000)))
    assert sorted(i for part in parts for i in part) == list(range(len(encoded)))
    for part in parts:
        size = len(grow([encoded[i] for i in part]).tokens)
        assert size == tree_tokens(encoded, part)
        assert size <= budget or len(part) == 1
    if budget == 1 << 40:
        assert len(parts) == 1


def test_trees_are_cut_between_prompts_that_share_least():
    first = [(1,) * 20 + (number,) for number in range(10, 20)]  # 30 tokens
    second = [(2,) * 20 + (number,) for number in range(10, 30)]  # 40 tokens
    encoded = prompts(*first, *second)
    parts = list(trees(encoded, by_tokens(encoded), Budget(tokens=45, rows=1000)))
    assert [len(part) for part in parts] == [10, 20]
    assert [len(part) for part in trees(encoded, by_tokens(encoded), Budget(1 << 40, 8))] == [
        8,
        8,
        8,
        6,
    ]


@pytest.mark.parametrize("seed", range(20))
def test_work_is_shared_out_nearly_as_evenly_as_can_be(seed):
    rng = random.Random(seed)
    workers = rng.randint(2, 3)
    costs = [rng.randint(1, 20) for _ in range(rng.randint(1, 7))]

    def longest(owners):
        return max(
            sum(cost for cost, owner in zip(costs, owners, strict=True) if owner == worker)
            for worker in range(workers)
        )

    best = min(map(longest, itertools.product(range(workers), repeat=len(costs))))
    assert longest(shared_out(costs, workers)) <= (4 / 3 - 1 / (3 * workers)) * best


def test_one_worker_does_everything_and_no_work_is_nobodys():
    assert shared_out([3, 1, 2], 1) == [0, 0, 0]
    assert shared_out([], 3) == []
    assert shared_out([5, 5, 5, 5], 2) == [0, 1, 0, 1]
