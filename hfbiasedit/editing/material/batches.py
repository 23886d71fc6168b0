"""Prompts as tensors: which tokens to run, at which places to read logits, what to add up there.

A prompt needs the probability of every candidate's tail. Its sequences are the context followed by
each tail without its last token; a sequence that begins another one is contained in it, so that a
prompt whose candidates are single tokens is one sequence, its context. Sequences are padded on the
right: under causal attention padding behind a place cannot reach it, so no mask is needed.
Where a model bears it, prompts stand in one row as a tree instead (`trees`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.editing.running.paths import Paths
from hfbiasedit.scoring.continuations import EncodedPrompt
from hfbiasedit.scoring.grouping import inner_paths
from hfbiasedit.scoring.trees import Tree

MALE, FEMALE, MALE_MINUS, FEMALE_MINUS = range(4)
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class PromptBatch:
    """`P` prompts as `S` sequences of `T` tokens with `N` places to read and `M` tokens to score.

    Attributes:
        input_ids: [S, T], padded on the right.
        sequence, position: [N], where logits are needed.
        site: [M], which of the N places scores a token; token: [M], the token.
        tail: [M], which of the C tails the token belongs to.
        slot: [C], `4 * prompt + role` of a tail (male, female, male-minus, female-minus).
        target: [P], factual share of women. weight: [P], sums to the batch's share of the loss.
        log_mass: [P], the original model's log gender mass (0 until it is known).
        hidden: [S, T, H], what enters the lowest block that runs, or None to run everything.
        index: [P], the prompts' numbers in the list they were made from.
        tree, paths: of prompts in one row (S = 1), and which of its tokens are whose.
    """

    input_ids: Tensor
    sequence: Tensor
    position: Tensor
    site: Tensor
    token: Tensor
    tail: Tensor
    slot: Tensor
    target: Tensor
    weight: Tensor
    log_mass: Tensor
    index: Tensor
    hidden: Tensor | None = None
    tree: Tree | None = None
    paths: Paths | None = None

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device | str) -> PromptBatch:
        """The batch on another device (what is not asked for on it stays where it is)."""
        moved = {
            name: getattr(self, name).to(device)
            for name in self.__dataclass_fields__
            if name not in ("hidden", "tree", "paths")
        }
        return replace(self, **moved)

    def log_probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """log P_M and log P_F per prompt, float32 or finer, from logits [N, vocabulary]."""
        wide = logits if logits.dtype == torch.float64 else logits.float()
        normaliser = torch.logsumexp(wide, dim=-1)
        scored = wide[self.site, self.token] - normaliser[self.site]
        tails = scored.new_zeros(len(self.slot)).index_add(0, self.tail, scored)
        sums = _grouped_logsumexp(tails, self.slot, 4 * len(self)).view(-1, 4)
        male = _log_difference(sums[:, MALE], sums[:, MALE_MINUS])
        female = _log_difference(sums[:, FEMALE], sums[:, FEMALE_MINUS])
        return male, female


def pack(
    encoded: Sequence[EncodedPrompt],
    records: Sequence[Record],
    index: Sequence[int],
    weight: Sequence[float] | None = None,
) -> PromptBatch:
    """Make one batch of the prompts `index`; weights are equal (summing to 1) unless given."""
    rows: list[Tokens] = []
    homes: list[dict[Tokens, int]] = []
    for item in index:
        prompt = encoded[item]
        homes.append({})
        for stem in _stems(prompt):
            homes[-1][stem] = len(rows)
            rows.append(prompt.context + stem)
    length = max(len(row) for row in rows)
    # Padded with the last token: models warn about rows that end in their padding token.
    ids = torch.tensor([row + row[-1:] * (length - len(row)) for row in rows])

    def home(number: int, path: Tokens) -> tuple[int, int]:
        row = next(row for stem, row in homes[number].items() if stem[: len(path)] == path)
        return row, len(encoded[index[number]].context) - 1 + len(path)

    return arranged(encoded, records, index, weight, ids, home)


def arranged(
    encoded: Sequence[EncodedPrompt],
    records: Sequence[Record],
    index: Sequence[int],
    weight: Sequence[float] | None,
    input_ids: Tensor,
    home: Callable[[int, Tokens], tuple[int, int]],
    tree: Tree | None = None,
    paths: Paths | None = None,
) -> PromptBatch:
    """A batch of tokens [S, T] that are laid out already.

    `home` says in which sequence and where in it a path behind the context of a prompt (numbered
    within the batch) ends.
    """
    places: dict[tuple[int, int], int] = {}
    site: list[int] = []
    token: list[int] = []
    tail: list[int] = []
    slot: list[int] = []
    for number, item in enumerate(index):
        prompt = encoded[item]
        groups = (prompt.male, prompt.female, prompt.male_minus, prompt.female_minus)
        for role, group in enumerate(groups):
            for part in group:
                for step, token_id in enumerate(part):
                    site.append(places.setdefault(home(number, part[:step]), len(places)))
                    token.append(token_id)
                    tail.append(len(slot))
                slot.append(4 * number + role)
    where = torch.tensor(list(places)).view(-1, 2)
    count = len(index)
    return PromptBatch(
        input_ids=input_ids,
        sequence=where[:, 0].clone(),
        position=where[:, 1].clone(),
        site=torch.tensor(site),
        token=torch.tensor(token),
        tail=torch.tensor(tail),
        slot=torch.tensor(slot),
        target=torch.tensor([records[item].share_female for item in index]),
        weight=torch.tensor(weight) if weight is not None else torch.full((count,), 1 / count),
        log_mass=torch.zeros(count),
        index=torch.tensor(list(index)),
        tree=tree,
        paths=paths,
    )


def owners(batch: PromptBatch) -> Tensor:
    """Which prompt each sequence of the batch belongs to, [S]; of a tree, each prompt itself."""
    if batch.tree is not None:
        return torch.arange(len(batch))
    owner = torch.zeros(len(batch.input_ids), dtype=torch.int64)
    owner[batch.sequence[batch.site]] = batch.slot[batch.tail] // 4
    return owner


def by_length(
    encoded: Sequence[EncodedPrompt], index: Sequence[int], size: int, tokens: int | None = None
) -> Iterator[list[int]]:
    """Cut prompts into batches of at most `size` with little padding (sorted by length).

    `tokens` limits the tokens of a batch, padding included (one prompt always goes): activations
    take memory by the token.
    """
    order = sorted(index, key=lambda item: (len(encoded[item].context), item))
    batch: list[int] = []
    rows, longest = 0, 0
    for item in order:
        stems = _stems(encoded[item])
        length = len(encoded[item].context) + max(len(stem) for stem in stems)
        wide = tokens is not None and (rows + len(stems)) * max(longest, length) > tokens
        if batch and (len(batch) == size or wide):
            yield batch
            batch, rows, longest = [], 0, 0
        batch.append(item)
        rows, longest = rows + len(stems), max(longest, length)
    if batch:
        yield batch


def _stems(prompt: EncodedPrompt) -> tuple[Tokens, ...]:
    """What has to run behind a context; nothing behind one whose candidates are single tokens."""
    return inner_paths(prompt.tails) or ((),)


def _grouped_logsumexp(values: Tensor, group: Tensor, count: int) -> Tensor:
    """log of the sum of exp(values) per group; -inf for a group without values."""
    with torch.no_grad():
        top = values.new_full((count,), -torch.inf).scatter_reduce(0, group, values, "amax")
        top = top.clamp_min(torch.finfo(values.dtype).min)
    sums = values.new_zeros(count).index_add(0, group, torch.exp(values - top[group]))
    filled = sums > 0
    # log(0) would give NaN gradients even where it is not chosen.
    return torch.where(filled, torch.log(torch.where(filled, sums, 1.0)) + top, -torch.inf)


def _log_difference(plus: Tensor, minus: Tensor) -> Tensor:
    """log(exp(plus) - exp(minus)), with `minus` = -inf meaning nothing to take off."""
    some = torch.isfinite(minus)
    ratio = torch.where(some, (torch.where(some, minus, plus) - plus), -1.0)
    rest = torch.log1p(-torch.exp(ratio.clamp_max(-1e-6)))
    return torch.where(some, plus + rest, plus)
