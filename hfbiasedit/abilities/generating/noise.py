"""Draws that depend on a completion's key and the seed only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from hfbiasedit.abilities.generating.decoding import Row


class GumbelNoise:
    """Next tokens: the likeliest, or exact samples of the tempered top-p (Gumbel-max trick)."""

    def __init__(self, temperature: float, top_p: float, seed: int, keys: Sequence[str]) -> None:
        """Temperature 0 takes the likeliest; `keys` name the rows by their number."""
        self._temperature, self._top_p, self._seed, self._keys = temperature, top_p, seed, keys
        self._generators: dict[int, torch.Generator] = {}

    def restart(self) -> None:
        """Draw from the beginning again; a row that starts anew must get what it got."""
        self._generators = {}

    def choose(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
        """The next token of each row, from logits [rows, vocabulary]."""
        if self._temperature > 0:
            logits = self._noisy(logits, rows)
        return [int(token) for token in logits.argmax(-1).tolist()]

    def _noisy(self, logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
        logs = (logits.float() / self._temperature).log_softmax(-1)
        if self._top_p < 1:
            ordered, index = logs.sort(-1, descending=True)
            # A token is out when those before it hold the mass already; the first always stays.
            out = ordered.exp().cumsum(-1) - ordered.exp() >= self._top_p
            logs = logs.scatter(-1, index, ordered.masked_fill(out, -torch.inf))
        shape = logs.shape[-1:]
        drawn = [torch.rand(shape, generator=self._generator(row.number)) for row in rows]
        noise = torch.stack(drawn).clamp(1e-20, 1 - 1e-7)
        return logs - (-noise.log()).log().to(logs.device)

    def _generator(self, number: int) -> torch.Generator:
        if number not in self._generators:
            text = f"{self._seed}\0{self._keys[number]}"
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
            seed = int.from_bytes(digest[:8], "big") >> 1
            self._generators[number] = torch.Generator().manual_seed(seed)
        return self._generators[number]
