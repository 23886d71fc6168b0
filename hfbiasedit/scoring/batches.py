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


def plan_groups(encoded: Sequence[EncodedPrompt], *, share: bool, overhead: int) -> list[Group]:
    """Sort prompts by their tokens and cut the order where sharing less would cost more.

    Neighbours in sorted order share the longest prefixes. A prompt joins the group before it unless
    the tokens that all its members would have to compute again (because the common prefix gets
    shorter) outweigh a forward pass of its own.

    Args:
        encoded: Prompts.
        share: Whether the model can share prefixes; if not, all prompts are one group.
        overhead: Fixed cost of one more forward pass, in tokens.
    """
    if not share:
        return [Group(0, _by_length(encoded, range(len(encoded))))] if encoded else []
    order = sorted(range(len(encoded)), key=lambda index: (encoded[index].context, index))
    groups: list[Group] = []
    members: list[int] = []
    prefix = 0
    for index in order:
        context = encoded[index].context
        if members:
            common = common_prefix(encoded[members[-1]].context, context)
            joined = min(prefix, common, len(context) - 1)
            again = len(members) * (prefix - joined)
            if again + len(context) - joined <= overhead + len(context) - min(common, prefix):
                members.append(index)
                prefix = joined
                continue
            groups.append(Group(prefix, _by_length(encoded, members)))
        members, prefix = [index], len(context) - 1
    if members:
        groups.append(Group(prefix, _by_length(encoded, members)))
    return [_worth_sharing(group) for group in groups]


def _by_length(encoded: Sequence[EncodedPrompt], members: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(members, key=lambda i: (len(encoded[i].context), encoded[i].context, i)))


def _worth_sharing(group: Group) -> Group:
    """A single prompt has nobody to share with: it runs in one pass instead of two."""
    return group if len(group.members) > 1 else Group(0, group.members)


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


def inner_paths(tails: Sequence[Tokens]) -> tuple[Tokens, ...]:
    """Token paths to feed after a context, so that every token of every tail gets a probability.

    A tail of n tokens needs the logits after its first 0..n-1 tokens. Paths that begin another path
    come for free; one-token tails need none beyond the context itself.
    """
    inner = {tail[:-1] for tail in tails if len(tail) > 1}
    covered = {path[:size] for path in inner for size in range(1, len(path))}
    return tuple(sorted(inner - covered))
