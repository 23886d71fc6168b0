"""Prompts in one row of tokens, against each prompt by itself."""

from dataclasses import replace

import pytest
import torch

from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.material.batches import owners, pack
from hfbiasedit.editing.material.forward import run, with_hidden
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.prompts import Prompts, gather_prompts
from hfbiasedit.editing.material.trees import bears_trees, pack_tree
from hfbiasedit.editing.running.execution import Trunk
from hfbiasedit.editing.running.recording import recorded
from hfbiasedit.models.architecture import projections
from hfbiasedit.scoring.continuations import EncodedPrompt, encode
from tests.editing import worlds

FAMILIES = ["llama", "gpt2", "phi3", "starcoder2", "qwen2_moe"]
# The first two share three tokens, all share one.
CONTEXTS = [(1, 2, 3, 4), (1, 2, 3, 5, 6), (1, 7, 8)]


def _short() -> list[EncodedPrompt]:
    return [EncodedPrompt(context, male=((9,),), female=((10,),)) for context in CONTEXTS]


def _gradients(model, batch):
    """Per prompt the gradients of its logit, by projection, from what passed."""
    found = {p.name: torch.zeros(len(batch), p.rows, p.columns) for p in projections(model.model)}

    def receive(passed):
        g, x = passed.split(passed.g, passed.x)
        product = (g.transpose(1, 2) @ x).to(torch.float32)
        own = found[passed.name]
        height = product.shape[1]
        part = own[:, passed.expert * height : (passed.expert + 1) * height]
        part.index_add_(0, owners(batch), product)

    with recorded(model.model, list(found), receive):
        bias_terms(batch, run(model, batch)).logit.sum().backward()
    return found


def _tokenwise(model, prompt):
    """Inputs and output gradients [T, n] of one prompt alone, by matrix, with its own tokens."""
    seen = {}

    def receive(passed):
        x = torch.zeros(len(prompt.context), passed.x.shape[-1])
        g = torch.zeros(len(prompt.context), passed.g.shape[-1])
        token = torch.arange(len(x)) if passed.token is None else passed.token[0]
        x[token[token >= 0]] = passed.x[0][token >= 0]
        g[token[token >= 0]] = passed.g[0][token >= 0]
        seen[passed.key] = (x, g)

    batch = pack([prompt], worlds.records()[:1], [0])
    with recorded(model.model, [p.name for p in projections(model.model)], receive):
        bias_terms(batch, run(model, batch)).logit.sum().backward()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tree_says_what_each_prompt_says_alone(family):
    model = worlds.loaded(family)
    rows = worlds.records()
    encoded = encode(model.tokenizer, rows)
    assert any(item.multi_token for item in encoded)
    index = [3, 20, 4, 0, 11]
    plain, tree = (make(encoded, rows, index) for make in (pack, pack_tree))
    assert tree.input_ids.shape[0] == 1
    assert tree.input_ids.numel() < plain.input_ids.numel()
    with torch.no_grad():
        expected = plain.log_probabilities(run(model, plain))
        found = tree.log_probabilities(run(model, tree))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2_moe"])
def test_what_prompts_share_is_given_to_each_in_equal_parts(family):
    model = worlds.loaded(family)
    encoded, rows = _short(), worlds.records()[:3]
    found = _gradients(model, pack_tree(encoded, rows, [0, 1, 2]))
    alone = [_tokenwise(model, prompt) for prompt in encoded]
    for item in projections(model.model):
        height = item.rows // item.experts
        for number, prompt in enumerate(encoded):
            for expert in range(item.experts):
                expected = torch.zeros(height, item.columns)
                for at in range(len(prompt.context)):
                    start = prompt.context[: at + 1]
                    sharing = [n for n, c in enumerate(CONTEXTS) if c[: at + 1] == start]
                    own = [
                        alone[n][item.name, expert]
                        for n in sharing
                        if (item.name, expert) in alone[n]
                    ]
                    for x, g in own:  # the inputs are the same
                        expected += torch.outer(g[at], x[at]) / len(sharing)
                part = found[item.name][number, expert * height : (expert + 1) * height]
                torch.testing.assert_close(part, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2_moe"])
def test_the_sum_over_prompts_is_exact_with_candidates_of_many_tokens(family):
    model = worlds.loaded(family)
    rows = worlds.records()
    encoded = encode(model.tokenizer, rows)
    plain = _gradients(model, pack(encoded, rows, range(8)))
    tree = _gradients(model, pack_tree(encoded, rows, range(8)))
    for name, expected in plain.items():
        torch.testing.assert_close(tree[name].sum(0), expected.sum(0), rtol=1e-3, atol=1e-5)


def test_trees_hold_every_prompt_once_and_start_above_the_trunk():
    model = worlds.loaded()
    prompts = replace(worlds.prompts(model), trees=True, tokens=90)
    batches = prompts.batches(range(1, len(prompts)))
    assert len(batches) > 1
    assert all(batch.tree is not None for batch in batches)
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(1, len(prompts)))
    trunk = Trunk(model.model, 1)
    for batch in batches:
        masses = torch.tensor([prompts.log_mass[n] for n in batch.index.tolist()])
        assert torch.equal(batch.log_mass, masses)
        with torch.no_grad():
            whole = run(model, batch)
            above = run(model, with_hidden(model, batch, trunk), trunk)
        torch.testing.assert_close(above, whole, rtol=1e-4, atol=1e-4)
    plain = replace(prompts, trees=False).batches(range(len(prompts)))
    assert all(batch.tree is None for batch in plain)


def test_parts_of_prompts_keep_whether_trees_are_borne():
    first = Prompts((), [], trees=True)
    rows = worlds.records()[:3]
    other = Prompts(rows, _short(), trees=False)
    assert not replace(other, trees=True).joined(other).trees
    assert replace(other, trees=True).joined(replace(other, trees=True)).trees
    assert replace(other, trees=True).joined(first).trees


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_models_are_tried(family, monkeypatch):
    model = worlds.loaded(family)
    rows = worlds.records()
    encoded = encode(model.tokenizer, rows)
    assert bears_trees(model, encoded, rows)
    assert not bears_trees(model, [], ())
    honest = model.model.forward

    def deaf(position_ids=None, **inputs):  # as if every token stood where it is in the row
        return honest(**inputs)

    deaf.__signature__ = __import__("inspect").signature(honest)
    monkeypatch.setattr(model.model, "forward", deaf)
    assert not bears_trees(model, encoded, rows)

    def stubborn(position_ids=None, **inputs):
        if position_ids is not None:
            raise TypeError("no such thing")
        return honest(**inputs)

    stubborn.__signature__ = deaf.__signature__
    monkeypatch.setattr(model.model, "forward", stubborn)
    assert not bears_trees(model, encoded, rows)


def test_another_attention_is_left_alone():
    model = worlds.loaded()
    rows = worlds.records()
    model.model.set_attn_implementation("eager")
    assert not bears_trees(model, encode(model.tokenizer, rows), rows)


def test_activations_that_are_computed_again_go_without_trees():
    model = worlds.loaded(max_position_embeddings=512)
    assert gather_prompts(model, EditConfig(), "edit", 4).trees
    assert not gather_prompts(model, EditConfig(checkpoint=True), "edit", 4).trees
