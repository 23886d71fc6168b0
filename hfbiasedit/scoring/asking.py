"""How records are put to a model: as they are, or through its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.models.chat import prefilled

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def asked(
    tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], chat: bool
) -> Sequence[Record]:
    """The records with the prompts that the model gets; without `chat` they are the same.

    Raises:
        BiasEditError: the model has no chat template that can be used.
    """
    if not chat:
        return records
    languages = [record.language for record in records]
    texts = prefilled(tokenizer, [record.prompt for record in records], languages)
    return [replace(record, prompt=text) for record, text in zip(records, texts, strict=True)]
