"""Which prompts run together: groups that share a prefix, cut into batches under a token budget.

The plan depends on the prompts' tokens and on two numbers (the cost of a forward pass in tokens and
the budget), never on the model's weights, so that a model and its edited version run through the
same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens, common_prefix


@dataclass(frozen=True)
class Group:
    """Prompts whose contexts begin with the same tokens.

    Attributes:
        prefix: How many tokens they share; every context is at least one token longer.
        members: Indices of the prompts, shortest context first.
    """

    prefix: int
    members: tuple[int, ...]


@dataclass(frozen=True)
class Budget:
    """Limits of one forward pass.

    Attributes:
        tokens: Most tokens computed at once, padding included.
        rows: Most sequences at once.
    """

    tokens: int
    rows: int


@dataclass
class _Node:
    """Neighbours in sorted order that share `depth` tokens, and the cheapest way to run them.

    `cost` counts tokens computed beyond `depth`; `groups` is the cut that achieves it.
    """

    depth: int
    start: int
    cost: int
    groups: list[tuple[int, int, int]]  # prefix, first and last + 1 in sorted order


def plan_groups(encoded: Sequence[EncodedPrompt], *, share: bool, overhead: int) -> list[Group]:
    """Cut prompts into groups so that as few tokens as possible are computed.

    Sorted by their tokens, prompts form a tree of shared prefixes. From the leaves up, each node of
    it is either run as one group or left to its children, whichever costs less. A group's prefix
    grows out of what it shares with the group before it, so that is not paid for again.

    Args:
        encoded: Prompts.
        share: Whether the model can share prefixes; if not, all prompts are one group.
        overhead: Fixed cost of one more forward pass, in tokens.
    """
    if not encoded:
        return []
    if not share:
        return [Group(0, _by_length(encoded, range(len(encoded))))]
    order = sorted(range(len(encoded)), key=lambda index: (encoded[index].context, index))
    contexts = [encoded[index].context for index in order]
    groups = []
    for prefix, start, end in _cheapest_cut(contexts, 2 * overhead):
        members = order[start:end]
        # Alone, a prompt gains from a prefix only what its neighbours have computed already.
        saved = prefix * max(1, len(members) - 1)
        groups.append(Group(prefix if saved > overhead else 0, _by_length(encoded, members)))
    return groups


def _cheapest_cut(contexts: Sequence[Tokens], overhead: int) -> list[tuple[int, int, int]]:
    """The tree's cut of least cost, given sorted contexts; `overhead` is that of a group."""
    total = [0]
    for context in contexts:
        total.append(total[-1] + len(context))
    stack = [_Node(0, 0, 0, [])]
    for position in range(len(contexts)):
        end = position + 1
        after = _shared(contexts[position], contexts[end]) if end < len(contexts) else 0
        depth = max(stack[-1].depth, after)
        cost = overhead + len(contexts[position]) - depth
        leaf = _Node(depth, position, cost, [(depth, position, end)])
        if after > stack[-1].depth:
            stack.append(leaf)
        else:
            _adopt(stack[-1], leaf)
        while stack[-1].depth > after or end == len(contexts):
            node = stack.pop()
            _close(node, end, total, overhead)
            if not stack:
                return node.groups
            if stack[-1].depth < after:
                stack.append(_Node(after, node.start, 0, []))
            _adopt(stack[-1], node)
    return []


def _close(node: _Node, end: int, total: Sequence[int], overhead: int) -> None:
    """Run a node as one group if that is no more expensive than what its children do."""
    whole = overhead + total[end] - total[node.start] - (end - node.start) * node.depth
    if whole <= node.cost:
        node.cost, node.groups = whole, [(node.depth, node.start, end)]


def _adopt(parent: _Node, child: _Node) -> None:
    parent.cost += child.cost + child.depth - parent.depth
    parent.groups += child.groups


def _shared(first: Tokens, second: Tokens) -> int:
    """Length of the prefix two contexts can share: at least one token of each is left over."""
    return min(common_prefix(first, second), len(first) - 1, len(second) - 1)


def _by_length(encoded: Sequence[EncodedPrompt], members: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(members, key=lambda i: (len(encoded[i].context), encoded[i].context, i)))


def cut(lengths: Sequence[int], budget: Budget) -> Iterator[slice]:
    """Cut sequences, given by their lengths in ascending order, into batches within a budget.

    A sequence longer than the budget gets a batch of its own.
    """
    start = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths):
            yield slice(start, end)
        elif end - start >= budget.rows or (end + 1 - start) * lengths[end] > budget.tokens:
            yield slice(start, end)
            start = end


def by_tokens(encoded: Sequence[EncodedPrompt], members: Sequence[int] | None = None) -> list[int]:
    """Indices of prompts (of all, or of some) in the order of their tokens, so that neighbours
    share most of them.
    """
    chosen = range(len(encoded)) if members is None else members
    return sorted(chosen, key=lambda index: (encoded[index].context, index))


def first_tree(encoded: Sequence[EncodedPrompt], members: Sequence[int], budget: Budget) -> int:
    """How many of the members, in the order of their tokens, to run as the next tree.

    Where the budget ends, the tree is cut in its second half between those two neighbours that
    share the fewest tokens, as those are computed again in the next one.
    """
    total, best, least = 0, 0, 0
    last: Tokens = ()
    for number, index in enumerate(members):
        context = encoded[index].context
        shared = common_prefix(last, context)
        if number and 2 * total >= budget.tokens and (not best or shared <= least):
            best, least = number, shared
        grown = total + len(context) - shared + _behind(encoded[index])
        if number and number >= budget.rows:
            return number
        if number and grown > budget.tokens:
            return best or number
        total, last = grown, context
    return len(members)


def trees(
    encoded: Sequence[EncodedPrompt], members: Sequence[int], budget: Budget
) -> Iterator[Sequence[int]]:
    """Cut prompts, in the order of their tokens, into trees within a budget."""
    while members:
        size = first_tree(encoded, members, budget)
        yield members[:size]
        members = members[size:]


def shared_out(costs: Sequence[int], workers: int) -> list[int]:
    """Which worker does each piece of work, so that all are done at about the same time.

    The most expensive piece goes first, each to whoever has the least so far (Graham 1969).
    """
    owners, loads = [0] * len(costs), [0] * workers
    for piece in sorted(range(len(costs)), key=lambda piece: (-costs[piece], piece)):
        owners[piece] = loads.index(min(loads))
        loads[owners[piece]] += costs[piece]
    return owners


def tree_tokens(encoded: Sequence[EncodedPrompt], members: Sequence[int]) -> int:
    """How many tokens a tree of prompts, in the order of their tokens, holds at most."""
    total, last = 0, ()  # type: tuple[int, Tokens]
    for index in members:
        context = encoded[index].context
        total += len(context) - common_prefix(last, context) + _behind(encoded[index])
        last = context
    return total


def _behind(prompt: EncodedPrompt) -> int:
    """Tokens that must be fed behind a context."""
    return len({tail[:size] for tail in prompt.tails for size in range(1, len(tail))})


def inner_paths(tails: Sequence[Tokens]) -> tuple[Tokens, ...]:
    """Token paths to feed after a context, so that every token of every tail gets a probability.

    A tail of n tokens needs the logits after its first 0..n-1 tokens. Paths that begin another path
    come for free; one-token tails need none beyond the context itself.
    """
    inner = {tail[:-1] for tail in tails if len(tail) > 1}
    covered = {path[:size] for path in inner for size in range(1, len(path))}
    return tuple(sorted(inner - covered))
