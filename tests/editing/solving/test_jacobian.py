"""Per-prompt gradients against those of one prompt alone."""

import pytest
import torch
from hfbiasedit.editing.solving.jacobian import gradients_of_mass, gradients_of_share, recorded

from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.running.gradients import checkpointing
from hfbiasedit.editing.weights.deltas import Deltas
from tests.editing import worlds


@pytest.mark.parametrize("mode", ["rows", "columns", "entries"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3"])
def test_a_row_of_the_jacobian_is_the_gradient_of_that_prompt_alone(family, mode):
    loaded = worlds.loaded(family)
    prompts = worlds.prompts(loaded)
    selection = worlds.selection(loaded.model, mode)
    batches = prompts.batches(range(len(prompts)), 7)
    with Deltas(loaded.model, selection) as deltas:
        with recorded(loaded.model, selection.slices) as tape:
            shares = gradients_of_share(loaded, tape, batches, None)
            masses = gradients_of_mass(loaded, tape, batches, None)
        order = torch.cat([batch.index for batch in batches]).tolist()
        for place in (0, 3, len(order) - 1):
            for rows, score in (
                (shares.rows, lambda t: torch.logit(t.share)),
                (masses.rows, lambda t: t.log_mass),
            ):
                for value in deltas.values.values():
                    value.grad = None
                batch = prompts.batch([order[place]])
                with deltas.attached():
                    score(bias_terms(batch, run(loaded, batch))).sum().backward()
                alone = torch.cat([v.grad.flatten() for v in deltas.values.values()])
                torch.testing.assert_close(rows[place], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_jacobian_is_the_same_with_checkpointing(family):
    loaded = worlds.loaded(family)
    batches = worlds.prompts(loaded).batches(range(6), 3)
    slices = worlds.selection(loaded.model, "rows").slices
    found = []
    for wanted in (False, True):
        with checkpointing(loaded.model, wanted), recorded(loaded.model, slices) as tape:
            found.append(gradients_of_share(loaded, tape, batches, None).rows)
    assert found[0].any()
    torch.testing.assert_close(found[1], found[0])
