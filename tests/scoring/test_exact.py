"""Models whose result depends on the batch are scored prompt by prompt, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfbiasedit.console import progress
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.engine import score
from hfbiasedit.scoring.exact import Exact
from tests.scoring.worlds import records, tiny


def scored(loaded, rows):
    exact = Exact(loaded, rows)
    with progress("scoring", len(rows)) as bar:
        scores = exact.score(batch_size="auto", progress=bar, known=None, on_batch=None)
    return exact, scores


def troubled(change):
    """A tiny model whose logits are changed by what `change` makes of the tokens of a pass."""
    loaded = tiny("llama")
    seen = []
    loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(
            (kwargs["input_ids"] if "input_ids" in kwargs else args[0]).numel()
        ),
        with_kwargs=True,
    )
    loaded.model.lm_head.register_forward_hook(
        lambda module, args, output: output * change(seen[-1])
    )
    return loaded


def test_a_result_that_depends_on_the_batch_is_measured_alone(capsys):
    rows = records()[:6]
    loaded = troubled(lambda tokens: 0.2 if tokens > 150 else 1.0)
    exact, scores = scored(loaded, rows)
    alone = score(tiny("llama"), exact.encoded, batch_size=1, share_prefixes=False)
    assert np.allclose(scores.log_male, alone.log_male, atol=1e-5)
    assert np.allclose(scores.log_female, alone.log_female, atol=1e-5)
    assert exact.noise(scores).largest < 1e-3
    assert "depends on what else is in the batch" in " ".join(capsys.readouterr().err.split())


def test_a_result_that_is_another_each_time_is_refused():
    generator = torch.Generator().manual_seed(0)
    loaded = troubled(lambda tokens: torch.rand((), generator=generator) + 0.2)
    with pytest.raises(BiasEditError, match="another result each time"):
        scored(loaded, records()[:6])


def test_an_ordinary_model_is_scored_once(capsys):
    rows = records()[:6]
    exact, scores = scored(tiny("llama"), rows)
    assert scores.plan["batch_size"] != 1
    assert exact.noise(scores).largest < 0.01
    assert capsys.readouterr().err == ""
