import pytest
import torch

from hfbiasedit.editing.running.execution import Trunk, logits_at
from tests.tiny import FAMILIES, tiny_model

IDS = torch.arange(4, 40).view(3, 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_starting_above_the_trunk_gives_the_models_logits(family):
    model = tiny_model(family)
    places = torch.tensor([0, 1, 2, 2]), torch.tensor([3, 11, 0, 11])
    with torch.no_grad():
        expected = model(input_ids=IDS).logits[places]
        assert torch.allclose(logits_at(model, IDS, *places), expected, atol=1e-5)
        for first in (0, 1):
            trunk = Trunk(model, first)
            assert trunk.is_faithful(IDS)
            with trunk.skipped(trunk.capture(IDS)):
                found = logits_at(model, IDS, *places)
            assert torch.allclose(found, expected, atol=1e-4)
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_the_blocks_below_do_not_run():
    model = tiny_model("llama", num_hidden_layers=3)
    ran = []
    for number, block in enumerate(model.model.layers):
        block.mlp.register_forward_hook(lambda *_, n=number: ran.append(n))
    trunk = Trunk(model, 2)
    hidden = trunk.capture(IDS)
    assert ran == [0, 1]
    ran.clear()
    with trunk.skipped(hidden), torch.no_grad():
        model(input_ids=IDS)
    assert ran == [2]


def test_padding_on_the_right_changes_nothing():
    model = tiny_model("gpt2")
    short = IDS[:1, :7]
    padded = torch.cat([short, torch.zeros(1, 9, dtype=torch.int64)], 1)
    place = torch.tensor([0]), torch.tensor([6])
    with torch.no_grad():
        first, second = logits_at(model, short, *place), logits_at(model, padded, *place)
    assert torch.allclose(first, second, atol=1e-5)


def test_models_that_pass_more_between_blocks_are_noticed():
    model = tiny_model("llama")
    memory = {}
    model.model.layers[0].register_forward_hook(lambda m, a, out: memory.update(state=out))
    model.model.layers[1].register_forward_hook(
        lambda m, a, out: out + memory["state"].roll(1, 0) * (1 + len(out))
    )
    assert not Trunk(model, 1).is_faithful(IDS + 1)
