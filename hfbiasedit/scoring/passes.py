"""The forward passes behind `score`: prompts, continuations after them, prefixes before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.models.limits import check_fit
from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens, common_prefix
from hfbiasedit.scoring.grouping import inner_paths
from hfbiasedit.scoring.logits import (
    cache_rows,
    can_share_prefix,
    new_cache,
    selected_logits,
    token_log_probs,
)
from hfbiasedit.scoring.packing import can_pack, packed
from hfbiasedit.scoring.trees import Node, grow, rounded

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

Table = dict[Node, dict[int, float]]  # what follows a node: token -> log-probability


class Passes:
    """Forward passes of one model.

    Attributes:
        can_share: Whether keys and values can be reused; the caller may switch it off.
        can_pack: Whether prompts can run as one tree of tokens; likewise.
        overhead: Fixed cost of one more forward pass, in tokens.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device, overhead: int) -> None:
        self.model, self.device, self.overhead = model, device, overhead
        self.can_share = can_share_prefix(model)
        self.can_pack = self.can_share and can_pack(model)
        self._last_prefix: tuple[Tokens, Cache | None] = ((), None)

    def check_fit(self, encoded: Sequence[EncodedPrompt]) -> None:
        """Refuse prompts that the model's context or vocabulary cannot hold."""
        check_fit(
            self.model,
            [
                (
                    f"prompt {prompt.id}",
                    {*prompt.context, *(token for tail in prompt.tails for token in tail)},
                    len(prompt.context) + max(len(tail) for tail in prompt.tails) - 1,
                )
                for prompt in encoded
            ],
        )

    @torch.inference_mode()
    def prefix(self, tokens: Tokens) -> Cache:
        """Keys and values of a prefix, batch size 1; grown out of the last one where they agree."""
        known, cache = self._last_prefix
        common = common_prefix(known, tokens)
        if cache is None or common == 0:
            common, cache = 0, new_cache()
        elif common < len(known):
            cache = cache_rows(cache, [0], common)
        if common < len(tokens):
            self._last_prefix = ((), None)  # the cache grows in place; a failure must not leave it
            ids = torch.tensor([tokens[common:]], device=self.device)
            nothing = torch.zeros(ids.shape, dtype=torch.bool)
            selected_logits(
                self.model, nothing, input_ids=ids, past_key_values=cache, use_cache=True
            )
        self._last_prefix = (tokens, cache)
        return cache

    @torch.inference_mode()
    def run(
        self, prompts: Sequence[EncodedPrompt], prefix: Cache | None
    ) -> list[tuple[float, float]]:
        """Log P(male) and log P(female) of each prompt.

        Args:
            prompts: One batch.
            prefix: Keys and values of the tokens all contexts begin with, or `None`.
        """
        table: Table = {}
        self._fill(prompts, prefix, table)
        return _masses(prompts, table)

    @torch.inference_mode()
    def run_tree(self, prompts: Sequence[EncodedPrompt]) -> list[tuple[float, float]]:
        """The same as `run`, every token that prompts share computed once and none of padding."""
        tree = rounded(grow(prompts))
        places = sorted(set(tree.places.values()))
        keep = torch.zeros((1, len(tree.tokens)), dtype=torch.bool)
        keep[0, places] = True
        with packed(self.model, tree, self.device) as inputs:
            logits = selected_logits(self.model, keep, **inputs)
        row_of = {place: row for row, place in enumerate(places)}
        table: Table = {}
        rows = [row_of[place] for place in tree.places.values()]
        _enter(prompts, list(tree.places), rows, logits, table)
        return _masses(prompts, table)

    def run_plain(self, prompt: EncodedPrompt) -> tuple[float, float]:
        """The same for one prompt, without anything that a model may not bear."""
        sharing, self.can_share = self.can_share, False
        try:
            return self.run([prompt], None)[0]
        finally:
            self.can_share = sharing

    def free_memory(self) -> None:
        """Give memory that is no longer used back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _fill(self, prompts: Sequence[EncodedPrompt], prefix: Cache | None, table: Table) -> None:
        """Enter everything the prompts' tails need into the table.

        A prompt's first path rides behind its context. Further ones either repeat the context in a
        row of their own, or go on from the keys and values of a first pass, whichever is cheaper;
        models without a plain cache have no choice.
        """
        start = prefix.get_seq_length() if prefix is not None else 0
        rows: list[Tokens] = []
        wanted: list[list[Node]] = []
        rest: list[Node] = []
        for number, prompt in enumerate(prompts):
            first, *others = inner_paths(prompt.tails) or ((),)
            rows.append(prompt.context[start:] + first)
            wanted.append(_nodes(number, first, 0))
            rest += [(number, path) for path in others]
        contexts = [len(prompt.context) for prompt in prompts]
        second_pass = self.can_share and self._second_pass_pays(contexts, rest, start)
        if not second_pass:
            rows += [prompts[number].context[start:] + path for number, path in rest]
            wanted += [_nodes(number, path, 1) for number, path in rest]
        cache = None
        if prefix is not None:
            cache = cache_rows(prefix, [0] * len(rows), start)
        elif second_pass:
            cache = new_cache()
        self._forward(prompts, rows, wanted, cache, table)
        if second_pass and cache is not None:
            self._go_on(prompts, rest, cache, table)

    def _second_pass_pays(self, contexts: Sequence[int], rest: Sequence[Node], start: int) -> bool:
        """Whether going on costs less than repeating contexts: one pass per length of context."""
        passes = len({contexts[number] for number, _ in rest})
        return passes * self.overhead < sum(contexts[number] - start for number, _ in rest)

    def _go_on(
        self, prompts: Sequence[EncodedPrompt], rest: Sequence[Node], cache: Cache, table: Table
    ) -> None:
        """Run paths behind contexts whose keys and values are there.

        Contexts of one length end at the same position: cropped there, the cache holds no padding.
        """
        by_length: dict[int, list[Node]] = {}
        for number, path in rest:
            by_length.setdefault(len(prompts[number].context), []).append((number, path))
        for length, nodes in by_length.items():
            part = cache_rows(cache, [number for number, _ in nodes], length)
            wanted = [_nodes(number, path, 1) for number, path in nodes]
            self._forward(prompts, [path for _, path in nodes], wanted, part, table)

    def _forward(
        self,
        prompts: Sequence[EncodedPrompt],
        rows: Sequence[Tokens],
        wanted: Sequence[Sequence[Node]],
        cache: Cache | None,
        table: Table,
    ) -> None:
        """Run token rows and enter what follows their last positions into the table.

        `wanted[row]` names the nodes (prompt, path) that the row's last positions stand for.
        """
        width = max(len(row) for row in rows)
        # Padding is never seen by a real token; repeating a real one avoids any special meaning.
        padded = [row + (row[-1],) * (width - len(row)) for row in rows]
        ids = torch.tensor(padded, device=self.device)
        keep = torch.zeros(ids.shape, dtype=torch.bool)
        for number, (row, nodes) in enumerate(zip(rows, wanted, strict=True)):
            keep[number, len(row) - len(nodes) : len(row)] = True
        inputs: dict[str, Any] = {"input_ids": ids, "use_cache": cache is not None}
        if cache is not None:
            inputs["past_key_values"] = cache
        logits = selected_logits(self.model, keep, **inputs)
        nodes = [node for row in wanted for node in row]
        _enter(prompts, nodes, range(len(nodes)), logits, table)


def _nodes(number: int, path: Tokens, begin: int) -> list[Node]:
    """The nodes along a path, from its first `begin` tokens on to all of it."""
    return [(number, path[:size]) for size in range(begin, len(path) + 1)]


def _enter(
    prompts: Sequence[EncodedPrompt],
    nodes: Sequence[Node],
    rows_of: Sequence[int],
    logits: torch.Tensor,
    table: Table,
) -> None:
    """Enter the log-probabilities of the tokens that tails need after each node."""
    keys, rows, tokens = [], [], []
    for row, (number, path) in zip(rows_of, nodes, strict=True):
        size = len(path)
        for tail in prompts[number].tails:
            if len(tail) > size and tail[:size] == path:
                keys.append((number, path))
                rows.append(row)
                tokens.append(tail[size])
    values = token_log_probs(logits, rows, tokens)
    for key, token, value in zip(keys, tokens, values, strict=True):
        table.setdefault(key, {})[token] = value


def _masses(prompts: Sequence[EncodedPrompt], table: Table) -> list[tuple[float, float]]:
    return [
        (
            _mass(prompt.male, prompt.male_minus, number, table),
            _mass(prompt.female, prompt.female_minus, number, table),
        )
        for number, prompt in enumerate(prompts)
    ]


def _mass(plus: Sequence[Tokens], minus: Sequence[Tokens], number: int, table: Table) -> float:
    """Log of the summed probabilities of `plus` less those of `minus`; -inf for none left."""
    total = _log_sum([_tail_log_prob(tail, number, table) for tail in plus])
    if not minus or total == -math.inf:
        return total
    less = _log_sum([_tail_log_prob(tail, number, table) for tail in minus])
    ratio = math.exp(less - total)
    return total + math.log1p(-ratio) if ratio < 1 else -math.inf


def _tail_log_prob(tail: Tokens, number: int, table: Table) -> float:
    return sum(table[number, tail[:size]][tail[size]] for size in range(len(tail)))


def _log_sum(values: Sequence[float]) -> float:
    largest = max(values)
    if math.isnan(sum(values)):
        return math.nan
    if largest == -math.inf:
        return largest
    return largest + math.log(sum(math.exp(value - largest) for value in values))
