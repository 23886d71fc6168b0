"""Log-probabilities from a model of lm-evaluation-harness.

The very tokens that the built-in engine scores are handed over (`scoring.continuations`), so that
only who computes differs. Models of lm-evaluation-harness that take text alone cut it themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbiasedit.codegenbias.records import Record
from hfbiasedit.documents.structures.audit_document import Backend
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.configuration import stated_context
from hfbiasedit.scoring.batches import OnBatch
from hfbiasedit.scoring.continuations import EncodedPrompt, Tokens, encode, front_tokens
from hfbiasedit.scoring.engine import Scores
from hfbiasedit.scoring.harness.connection import Served, connect, silent
from hfbiasedit.scoring.harness.failures import explained, no_logs
from hfbiasedit.scoring.options import ScoringOptions

if TYPE_CHECKING:
    from hfbiasedit.console import Progress

_PIECE = 32  # prompts between two results that are kept
_MOST = 1 + 1e-3  # probability of continuations that exclude each other, with rounding
NO_NOISE = "noise floor"
NO_TOKENS = "tokens"


class Harness:
    """A scorer (`scoring.scorer`) whose model is not loaded here."""

    def __init__(self, served: Served, records: Sequence[Record]) -> None:
        """Encode the prompts.

        Raises:
            BiasEditError: one cannot be, or not as the text that alone can be sent.
        """
        self.served, self.encoded = served, encode(served.tokenizer, records)
        self._takes_tokens = hasattr(served.lm, "_loglikelihood_tokens")
        if not self._takes_tokens:
            self._check_texts()

    @classmethod
    def connect(cls, model: str | Path, options: ScoringOptions) -> Served:
        """See `connection.connect`."""
        return connect(model, options)

    def about(self) -> Backend:
        """What a report says of it: what batching does cannot be looked at from here."""
        return self.served.backend([NO_NOISE] if self._takes_tokens else [NO_NOISE, NO_TOKENS])

    def noise(self, scores: Scores) -> None:
        """How a server batches is its own affair: there is no floor to tell."""

    def score(
        self,
        *,
        batch_size: int | str,
        progress: Progress,
        known: Mapping[int, tuple[float, float]] | None,
        on_batch: OnBatch | None,
    ) -> Scores:
        """See `Scorer.score`; what an interrupted run left is not asked for again.

        Raises:
            BiasEditError: a prompt is too long, or the model cannot be asked, or its answers are
                no log-probabilities.
        """
        self._check_lengths()
        done = dict(known or {})
        open_ = [index for index in range(len(self.encoded)) if index not in done]
        progress.advance(len(done))
        for start in range(0, len(open_), _PIECE):
            piece = open_[start : start + _PIECE]
            done.update(zip(piece, self._score([self.encoded[i] for i in piece]), strict=True))
            if on_batch is not None:
                male, female = np.array([done[index] for index in piece]).T
                on_batch(piece, male, female)
            progress.advance(len(piece))
        table = np.array([done[index] for index in range(len(self.encoded))])
        return Scores(
            table[:, 0].copy(),
            table[:, 1].copy(),
            {"batch_size": batch_size, "tokens": None, "halvings": 0, "prefix_sharing": False},
        )

    def _check_texts(self) -> None:
        """Refuse special tokens within a prompt, those of a chat above all.

        Servers disagree on whether they read them in a text, and lm-evaluation-harness counts the
        characters of what comes back, where they have some or none. What a tokenizer puts in front
        of every text is left to the server.
        """
        tokenizer = self.served.tokenizer
        added = tokenizer.added_tokens_decoder.items()
        special = {*tokenizer.all_special_ids, *(token for token, how in added if how.special)}
        front = front_tokens(tokenizer)
        for prompt in self.encoded:
            start = len(front) if prompt.context[: len(front)] == front else 0
            found = next((token for token in prompt.context[start:] if token in special), None)
            if found is not None:
                raise BiasEditError(
                    f"{self.served.arguments.kind} of lm-eval takes text alone, and prompt "
                    f"{prompt.id} has the special token {tokenizer.decode([found])} in it; leave "
                    "--chat out, or use a backend that takes tokens"
                )

    def _check_lengths(self) -> None:
        """Refuse what lm-evaluation-harness would cut without a word."""
        limit = stated_context(self.served.config)
        given = self.served.arguments.values.get("max_length")
        limits = [number for number in (limit, given) if isinstance(number, int)]
        for prompt in self.encoded:
            length = len(prompt.context) + max(len(tail) for tail in prompt.tails)
            if limits and length > min(limits):
                raise BiasEditError(
                    f"prompt {prompt.id} has {length} tokens and the model takes {min(limits)}; "
                    "shorten it or use another model"
                )

    def _score(self, prompts: Sequence[EncodedPrompt]) -> list[tuple[float, float]]:
        """Log P(male) and log P(female) of each prompt."""
        pairs = [(prompt, tail) for prompt in prompts for tail in prompt.tails]
        values = iter(self._ask(pairs))
        scored = []
        for prompt in prompts:
            logs = {tail: next(values) for tail in prompt.tails}
            both = (
                _mass(logs, prompt.male, prompt.male_minus),
                _mass(logs, prompt.female, prompt.female_minus),
            )
            if not sum(map(math.exp, both)) <= _MOST:  # NaN as well
                raise no_logs(self.served.arguments.kind, self.served.arguments.values)
            scored.append(both)
        return scored

    def _ask(self, pairs: Sequence[tuple[EncodedPrompt, Tokens]]) -> list[float]:
        lm, arguments = self.served.lm, self.served.arguments
        with silent():
            try:
                if self._takes_tokens:
                    rows = [(("", ""), list(p.context), list(tail)) for p, tail in pairs]
                    answers = lm._loglikelihood_tokens(rows, disable_tqdm=True)
                else:
                    answers = lm.loglikelihood(self._texts(pairs), disable_tqdm=True)
            except Exception as error:  # code of many libraries, and a server
                raise explained(error, arguments.kind, arguments.values) from error
        if len(answers) != len(pairs):
            raise no_logs(arguments.kind, arguments.values)
        return [float(answer[0]) for answer in answers]

    def _texts(self, pairs: Sequence[tuple[EncodedPrompt, Tokens]]) -> list[Any]:
        """Requests in text: what precedes a continuation, and the continuation."""
        from lm_eval.api.instance import Instance

        requests = []
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        for number, (prompt, tail) in enumerate(pairs):
            before = self.served.tokenizer.decode(list(prompt.context), **options)
            whole = self.served.tokenizer.decode(list(prompt.context + tail), **options)
            texts = (before, whole[len(before) :])
            requests.append(Instance("loglikelihood", {}, texts, number))
        return requests


def _mass(logs: Mapping[Tokens, float], plus: Sequence[Tokens], minus: Sequence[Tokens]) -> float:
    """Log of the summed probabilities of `plus` less those of `minus`."""
    total = float(np.logaddexp.reduce([logs[tail] for tail in plus]))
    if not minus:
        return total
    less = float(np.logaddexp.reduce([logs[tail] for tail in minus])) - total
    return total + math.log1p(-math.exp(less)) if less < 0 else -math.inf
