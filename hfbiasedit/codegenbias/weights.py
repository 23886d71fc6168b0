"""Weights of prompts under which neither a vocabulary of values nor a template dominates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.codegenbias.vocabulary import vocabulary_of


def balanced_weights(records: Sequence[Record]) -> list[float]:
    """One weight for each record, in order; they sum to 1.

    A vocabulary's records weigh together as the square root of their number: one with four times
    the prompts counts twice, not four times. Inside a vocabulary each template weighs the same,
    and inside a template (as far as it uses that vocabulary) each prompt.
    """
    keys = [(vocabulary_of(record), record.template) for record in records]
    prompts = Counter(keys)
    templates = Counter(vocabulary for vocabulary, _ in prompts)
    roots = {
        vocabulary: math.sqrt(number)
        for vocabulary, number in Counter(vocabulary for vocabulary, _ in keys).items()
    }
    total = math.fsum(roots.values())
    return [roots[key[0]] / total / templates[key[0]] / prompts[key] for key in keys]
