"""One call of `score`, batch by batch: results so far, and what was learnt about the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hfbiasedit import processes
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.exhaustion import out_of_memory
from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens
from hfbiasedit.scoring.grouping import (
    Budget,
    Group,
    by_tokens,
    cut,
    first_tree,
    shared_out,
    tree_tokens,
    trees,
)

if TYPE_CHECKING:
    from transformers import Cache

    from hfbiasedit.console import Progress
    from hfbiasedit.scoring.passes import Passes

# Largest difference to the log-probabilities of a plain pass that rounding explains, in nats.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-3}
_TOLERANCE_LOW = 0.25  # with the 8 or 11 bits of bfloat16 and float16

OnBatch = Callable[[Sequence[int], np.ndarray, np.ndarray], None]
Pairs = Sequence[tuple[float, float]]
# Ways to run a batch that a model from elsewhere may not bear.
_TREE, _PREFIX, _CACHE = "as a tree", "after a prefix", "with a cache"


def tolerance_of(dtype: str) -> float:
    """How far two ways to compute a log-probability may differ by rounding, in nats."""
    return _TOLERANCE.get(dtype, _TOLERANCE_LOW)


class Run:
    """Scores batches of prompts and keeps the results.

    Attributes:
        done: Index of a prompt -> log P(male), log P(female).
        budget: Limits of one pass; they shrink when memory runs out.
        halvings: How often they did.
    """

    def __init__(
        self,
        passes: Passes,
        encoded: Sequence[EncodedPrompt],
        budget: Budget,
        dtype: str,
        known: Mapping[int, tuple[float, float]],
        progress: Progress | None,
        on_batch: OnBatch | None,
    ) -> None:
        self.done, self.budget, self.halvings = dict(known), budget, 0
        self._passes, self._encoded = passes, encoded
        self._tolerance = tolerance_of(dtype)
        self._progress, self._on_batch = progress, on_batch
        self._checked: set[str] = set()
        self._skipped: list[Tokens] = []  # prefixes of groups that were not run here
        self._number = -1  # of the last batch that was planned, for whichever process
        self._planned = budget  # limits that all processes plan with
        self._before = dict(known)
        self._advance(len(self.done))

    def trees(self) -> None:
        """Score all prompts as trees; or find out with the first that the model cannot do that."""
        planned = list(trees(self._encoded, by_tokens(self._encoded), self._planned))
        number, count = processes.team()
        owners = shared_out([tree_tokens(self._encoded, tree) for tree in planned], count)
        for members, owner in zip(planned, owners, strict=True):
            if not self._passes.can_pack:
                return
            if owner == number and not self._known(members):
                self._tree(members)

    def _tree(self, members: Sequence[int]) -> None:
        """Score the prompts of a tree; in smaller ones when memory runs out."""
        while members and self._passes.can_pack:
            batch = members[: first_tree(self._encoded, members, self.budget)]
            prompts = [self._encoded[index] for index in batch]
            try:
                found = self._passes.run_tree(prompts)
            except Exception as error:
                if out_of_memory(error):
                    self._shrink(error, batch, sum(len(p.context) for p in prompts))
                elif _TREE in self._checked:
                    raise
                else:
                    self._passes.can_pack = False
                continue
            if not self._agrees(batch, found, _TREE):
                self._passes.can_pack = False
                continue
            self._keep(batch, found)
            members = members[len(batch) :]

    def groups(self, groups: Sequence[Group]) -> None:
        """Score groups of prompts, batch by batch; smaller batches when memory runs out."""
        for group in groups:
            prefix = self._encoded[group.members[0]].context[: group.prefix]
            start = group.prefix if self._passes.can_share else 0
            lengths = [len(self._encoded[index].context) - start for index in group.members]
            planned = [group.members[part] for part in cut(lengths, self._planned)]
            mine = [batch for batch in planned if self._for_me(batch)]
            for batch in mine:
                self._batch(batch, prefix)
            if not mine:
                self._skipped.append(prefix)

    def _batch(self, members: Sequence[int], prefix: Tokens) -> None:
        """Score a batch of prompts that begin with a prefix, or with nothing in common."""
        while members:
            sharing = bool(prefix) and self._passes.can_share
            way = _PREFIX if sharing else _CACHE
            start = len(prefix) if sharing else 0
            lengths = [len(self._encoded[index].context) - start for index in members]
            batch = members[next(cut(lengths, self.budget))]
            try:
                shared = self._prefix(prefix) if sharing else None
                found = self._passes.run([self._encoded[i] for i in batch], shared)
            except Exception as error:
                if out_of_memory(error):
                    self._shrink(error, batch, len(batch) * lengths[len(batch) - 1])
                elif way in self._checked or not self._passes.can_share:
                    raise
                else:  # a model that fails with a cache may do without
                    self._passes.can_share = False
                continue
            if self._passes.can_share and not self._agrees(batch, found, way):
                self._passes.can_share = False
                continue
            self._keep(batch, found)
            members = members[len(batch) :]

    def together(self, work: Callable[[], None]) -> None:
        """Do work of which every process of the team does its share, and exchange what is found.

        A way that one of them has found not to bear, none goes: all begin anew, in another.
        """
        self._number = -1
        processes.everywhere(work)
        if processes.team()[1] == 1:
            return
        passes, packed = self._passes, self._passes.can_pack
        state = (self.done, packed, passes.can_share, self.budget, self.halvings)
        found, can_pack, can_share, budgets, halvings = zip(*processes.gathered(state), strict=True)
        passes.can_pack, passes.can_share = all(can_pack), all(can_share)
        self.budget = Budget(min(b.tokens for b in budgets), min(b.rows for b in budgets))
        self._planned, self.halvings = self.budget, max(halvings)
        before = len(self.done)
        if any(can_pack) and not passes.can_pack:
            found = (self._before,)
            self.done = {}
        self.done = {index: pair for part in (*found, self.done) for index, pair in part.items()}
        self._advance(max(0, len(self.done) - before))

    def _for_me(self, batch: Sequence[int]) -> bool:
        """Whether a batch, the next of the plan, is to be scored here."""
        self._number += 1
        number, count = processes.team()
        return self._number % count == number and not self._known(batch)

    def _known(self, batch: Sequence[int]) -> bool:
        return all(index in self.done for index in batch)

    def _prefix(self, prefix: Tokens) -> Cache:
        """Keys and values of a prefix, grown as in an uninterrupted run: the same to the bit."""
        for tokens in self._skipped:
            if tokens and tokens[0] == prefix[0]:
                self._passes.prefix(tokens)
        self._skipped.clear()
        return self._passes.prefix(prefix)

    def _agrees(self, batch: Sequence[int], found: Pairs, way: str) -> bool:
        """Compare a result of a way's first batch with a plain pass.

        A model from elsewhere may take what it is given and use it in its own way; this finds out.
        """
        if way in self._checked:
            return True
        # A prompt with longer candidates uses a way in full; the last of them follows others.
        chosen = max(range(len(batch)), key=lambda i: (self._encoded[batch[i]].multi_token, i))
        prompt = self._encoded[batch[chosen]]
        if way == _CACHE and not prompt.multi_token:
            return True
        self._checked.add(way)
        plain = self._passes.run_plain(prompt)
        pairs = zip(found[chosen], plain, strict=True)
        return not any(
            first != second and abs(first - second) > self._tolerance for first, second in pairs
        )

    def _shrink(self, error: Exception, batch: Sequence[int], tokens: int) -> None:
        """Go on with half of what was too much."""
        if len(batch) == 1:
            raise BiasEditError(
                "out of memory with a single prompt; use --dtype bfloat16, --device-map auto "
                "or a smaller model"
            ) from error
        self.budget = Budget(tokens=tokens // 2, rows=len(batch) // 2)
        self.halvings += 1
        self._passes.free_memory()

    def _keep(self, batch: Sequence[int], found: Sequence[tuple[float, float]]) -> None:
        for index, pair in zip(batch, found, strict=True):
            if any(math.isnan(value) for value in pair):
                raise BiasEditError(
                    f"the model's logits are NaN or infinite on prompt {self._encoded[index].id}; "
                    "its weights are damaged or its dtype is too narrow (try --dtype float32)"
                )
        fresh = [index for index in batch if index not in self.done]
        self.done.update(zip(batch, found, strict=True))
        if self._on_batch is not None:
            values = np.array(found, dtype=np.float64)
            self._on_batch(batch, values[:, 0], values[:, 1])
        self._advance(len(fresh))

    def _advance(self, amount: int) -> None:
        if self._progress is not None and amount:
            self._progress.advance(amount)
