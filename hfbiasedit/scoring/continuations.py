"""From text to token ids: what exactly is scored for a prompt and its continuations.

Prompt and continuation are tokenised together, because a tokenizer may merge characters across the
boundary. The longest token prefix that the prompt's own tokenisation and all of its candidates'
have in common is the *context*; what follows it in a candidate is the candidate's *tail*, and

    P(candidate | prompt) = product over the tail of P(token | context + tail so far).

Where one tail is a prefix of another, the longer candidate's probability is part of the shorter
one's. The rule is *the longest match wins*, so that nothing is counted twice:

* same gender: only the shorter candidate is kept, it includes the longer one;
* other gender (`he` and `her`): the longer one counts for its own gender and is taken off the
  shorter one's, which leaves the shorter one the text that does not go on to become the longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfbiasedit.errors import BiasEditError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfbiasedit.codegenbias.records import Record

Tokens = tuple[int, ...]
_PIECE = 256  # records per tokenizer call: bounds memory, costs nothing


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt and its candidates.

    Attributes:
        context: Tokens the candidates share with the prompt, special tokens at the front included.
        male: Tails counted as male; none is a prefix of another unless a female one lies between.
        female: Tails counted as female, likewise.
        male_minus: Tails whose probability is taken off the male sum: female ones that extend a
            male one.
        female_minus: Tails whose probability is taken off the female sum.
        id: The record's id, for messages.
    """

    context: Tokens
    male: tuple[Tokens, ...]
    female: tuple[Tokens, ...]
    male_minus: tuple[Tokens, ...] = field(default=())
    female_minus: tuple[Tokens, ...] = field(default=())
    id: str = ""

    @property
    def tails(self) -> tuple[Tokens, ...]:
        """All different tails whose probability is needed."""
        return tuple(dict.fromkeys(self.male + self.female))

    @property
    def multi_token(self) -> int:
        """How many candidates are longer than one token."""
        return sum(len(tail) > 1 for tail in self.tails)


def encode(tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]) -> list[EncodedPrompt]:
    """Tokenise records for scoring, in their order.

    Raises:
        BiasEditError: A record has no candidates, an empty one, one that the tokenizer cannot
            encode, or one that it encodes like a candidate of the other gender; the message names
            the record.
    """
    for record in records:
        _check_candidates(record)
    front = front_tokens(tokenizer)
    numbers: dict[int, int] = {}
    encoded = []
    for start in range(0, len(records), _PIECE):
        piece = records[start : start + _PIECE]
        texts: list[str] = []
        for record in piece:
            texts.append(record.prompt)
            texts.extend(record.prompt + candidate for candidate in record.male + record.female)
        rows = iter(_tokenize(tokenizer, texts, front, numbers))
        for record in piece:
            prompt = next(rows)
            male = [next(rows) for _ in record.male]
            female = [next(rows) for _ in record.female]
            encoded.append(_split(tokenizer, record, prompt, male, female))
    return encoded


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Tokens]:
    """Token ids of texts that a model goes on from: special tokens in front, none behind."""
    if not texts:
        return []
    return _tokenize(tokenizer, list(texts), front_tokens(tokenizer), {})


def _check_candidates(record: Record) -> None:
    for gender, candidates in (("male", record.male), ("female", record.female)):
        if not candidates:
            raise BiasEditError(
                f"prompt {record.id} has no {gender} continuations; give at least one"
            )
        if any(not candidate for candidate in candidates):
            raise BiasEditError(f"prompt {record.id} has an empty {gender} continuation; remove it")


def _tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], front: Tokens, numbers: dict[int, int]
) -> list[Tokens]:
    """Token ids of each text, with the tokenizer's special tokens in front and none behind.

    `numbers` holds one object per token id: millions of tokens then take a quarter of the memory.
    """
    start = str(tokenizer.decode(list(front))) if front else None
    ids = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    rows: list[Tokens] = []
    for text, row in zip(texts, ids, strict=True):
        has_front = start is not None and text.startswith(start)
        rows.append((() if has_front else front) + tuple(map(numbers.setdefault, row, row)))
    return rows


def front_tokens(tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """What the tokenizer adds in front of a text (a BOS token, or nothing).

    Found by trying, because tokenizers disagree about the attributes that say so. What they add
    behind a text (an EOS token) would end it before its continuation, and is left out.
    """
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("a", add_special_tokens=True)["input_ids"])
    for size in range(len(full) - len(bare) + 1):
        if full[size : size + len(bare)] == bare:
            return tuple(full[:size])
    return ()


def _split(
    tokenizer: PreTrainedTokenizerBase,
    record: Record,
    prompt: Tokens,
    male: Sequence[Tokens],
    female: Sequence[Tokens],
) -> EncodedPrompt:
    """Cut the joint tokenisations into context and tails."""
    shared = len(prompt)
    for row in (*male, *female):
        shared = min(shared, common_prefix(prompt, row))
    context = prompt[:shared]
    if not context:
        raise BiasEditError(
            f"prompt {record.id} is too short: its first token depends on the continuation; "
            "put more text before it"
        )
    genders: dict[Tokens, str] = {}
    for gender, rows, texts in (("male", male, record.male), ("female", female, record.female)):
        for row, text in zip(rows, texts, strict=True):
            tail = row[shared:]
            _check_tail(tokenizer, record, tail, text)
            if genders.setdefault(tail, gender) != gender:
                raise BiasEditError(
                    f"prompt {record.id}: the tokenizer encodes the {gender} continuation {text!r} "
                    "like one of the other gender"
                )
    return _resolve_overlaps(context, genders, record.id)


def _check_tail(
    tokenizer: PreTrainedTokenizerBase, record: Record, tail: Tokens, text: str
) -> None:
    unknown = tokenizer.unk_token_id
    specials = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    lost = unknown is not None and unknown not in specials and unknown in tail
    if not tail or lost:
        raise BiasEditError(
            f"prompt {record.id}: the tokenizer cannot encode the continuation {text!r}; "
            "remove it or use another model"
        )


def _resolve_overlaps(context: Tokens, genders: dict[Tokens, str], name: str) -> EncodedPrompt:
    """Apply the longest-match rule of the module's first lines to tails and their genders."""
    plus: dict[str, list[Tokens]] = {"male": [], "female": []}
    minus: dict[str, list[Tokens]] = {"male": [], "female": []}
    for tail, gender in genders.items():
        parents = (tail[:size] for size in range(len(tail) - 1, 0, -1))
        nearest = next((genders[parent] for parent in parents if parent in genders), None)
        if nearest == gender:
            continue
        plus[gender].append(tail)
        if nearest is not None:
            minus[nearest].append(tail)
    return EncodedPrompt(
        context=context,
        male=tuple(plus["male"]),
        female=tuple(plus["female"]),
        male_minus=tuple(minus["male"]),
        female_minus=tuple(minus["female"]),
        id=name,
    )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading tokens two sequences share."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    for index in range(length):
        if first[index] != second[index]:
            return index
    return length
