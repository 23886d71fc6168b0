"""Decoding with the model's own `generate`, for models without plain keys and values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from hfbiasedit.models.attention import any_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hfbiasedit.abilities.generating.decoding import Choose, Row


def alike(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    """Batches of prompts of one length and one limit: no padding, which a state would remember."""
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((len(row.prompt), row.limit), []).append(row)
    for group in groups.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def generate(
    model: PreTrainedModel,
    device: torch.device,
    rows: Sequence[Row],
    padding: int,
    ends: Sequence[int],
    choose: Choose,
    is_done: Callable[[Row], bool],
) -> None:
    """Write tokens after rows of one length and limit; see `decoding.decode`.

    Args:
        padding: the token behind a row that is done. ends: tokens that end a row.
    """
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    start = len(rows[0].prompt)
    ids = torch.tensor([list(row.prompt) for row in rows], device=device)

    def chosen(_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens = torch.tensor(choose(scores, rows), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens.unsqueeze(-1), 0.0)

    def ended(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        for row, written in zip(rows, ids[:, start:].tolist(), strict=True):
            row.written[:] = written
        return torch.tensor([is_done(row) for row in rows], device=ids.device)

    config = GenerationConfig(
        max_new_tokens=rows[0].limit,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        pad_token_id=padding,
        eos_token_id=list(ends) or None,
        use_cache=True,
    )
    generator: Any = model  # its class can generate; the base class of all models cannot
    own = generator.generation_config
    generator.generation_config = GenerationConfig()  # or what it sets would be mixed in
    try:
        with any_shape():
            output = generator.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                logits_processor=LogitsProcessorList([chosen]),
                stopping_criteria=StoppingCriteriaList([ended]),
            )
    finally:
        generator.generation_config = own
    for row, written in zip(rows, output[:, start:].tolist(), strict=True):
        row.written[:] = written
