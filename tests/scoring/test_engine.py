from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.continuations import EncodedPrompt, encode
from hfbiasedit.scoring.engine import score
from hfbiasedit.scoring.logits import can_share_prefix
from hfbiasedit.scoring.noise import noise_floor
from hfbiasedit.scoring.packing import can_pack
from tests.scoring.worlds import brute_force, loaded, records, tiny
from tests.tiny import FAMILIES, tiny_tokenizer

# Positions by attention bias (bloom, mpt, falcon), learned (opt), local and global attention
# (gpt_neo), sliding windows shorter than the prompts, scaled logits, recurrent and mixed states.
OTHERS = {
    "bloom": dict(hidden_size=32, n_layer=2, n_head=4),
    "mpt": dict(d_model=32, n_layers=2, n_heads=4, max_seq_len=512),
    "falcon": dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True),
    "opt": dict(
        hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4,
        word_embed_proj_dim=32, max_position_embeddings=512,
    ),
    "gpt_neo": dict(
        hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
        window_size=16, max_position_embeddings=512,
    ),
    "mistral": dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=16,
    ),
    "gemma3_text": dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, sliding_window=16,
    ),
    "cohere": dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    ),
    "mamba": dict(hidden_size=32, num_hidden_layers=2, state_size=8),
}  # fmt: skip


def other(family: str):
    options = dict(vocab_size=512, bos_token_id=0, eos_token_id=0, initializer_range=0.2)
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(options | OTHERS[family]))
    return loaded(AutoModelForCausalLM.from_config(config).eval())


# Attention that cannot be exchanged; a tree of tokens it cannot run.
WITHOUT_TREES = "stablelm"


def differences(scores, expected):
    found = np.stack([scores.log_male, scores.log_female], axis=1)
    return np.abs(found - expected).max()


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_agrees_with_brute_force(family):
    model = tiny(family) if family in FAMILIES and family != "mistral" else other(family)
    encoded = encode(model.tokenizer, records())
    assert any(prompt.multi_token for prompt in encoded)
    chosen = encoded[::4]
    expected = np.array([brute_force(model.model, prompt) for prompt in chosen])
    assert differences(score(model, chosen), expected) < 1e-5
    assert differences(score(model, chosen, share_prefixes=False, batch_size=3), expected) < 1e-5
    assert score(model, chosen).plan["prefix_sharing"] == (family != "mamba")


@pytest.mark.parametrize(
    "family", ["gpt2", "qwen2", "gemma3_text", "mistral", "opt", "deepseek_v3"]
)
def test_trees_are_run_where_the_attention_can_be_exchanged(family):
    model = tiny(family) if family in FAMILIES and family != "mistral" else other(family)
    encoded = encode(model.tokenizer, records())
    before = model.model.config._attn_implementation
    assert score(model, encoded).plan["packed"]
    assert model.model.config._attn_implementation == before == "sdpa"
    assert not score(model, encoded, share_prefixes=False).plan["packed"]


@pytest.mark.parametrize("family", [WITHOUT_TREES, "gemma2", "falcon", "mamba"])
def test_other_models_run_without_trees(family):
    model = tiny(family) if family in FAMILIES else other(family)
    assert not can_pack(model.model)
    assert not score(model, encode(model.tokenizer, records())[:4]).plan["packed"]


def test_a_model_that_puts_tokens_where_it_likes_is_scored_without_trees():
    model = tiny("llama")
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded, share_prefixes=False)
    inner = model.model.model
    plain = inner.forward

    def counting(*args, position_ids=None, **kwargs):
        return plain(*args, position_ids=None, **kwargs)  # by place in the row

    inner.forward = counting
    assert can_pack(model.model)
    found = score(model, encoded)
    assert not found.plan["packed"]
    assert found.plan["prefix_sharing"]
    assert model.model.config._attn_implementation == "sdpa"
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5


def test_a_model_that_fails_on_a_tree_is_scored_without(monkeypatch):
    model = tiny("llama")
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded, share_prefixes=False)
    forward = model.model.forward

    def narrow(input_ids, position_ids=None, **kwargs):
        if position_ids is not None:
            raise ValueError("positions are mine")
        return forward(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model.model, "forward", narrow)
    monkeypatch.setattr("hfbiasedit.scoring.passes.can_pack", lambda _model: True)
    found = score(model, encoded)
    assert not found.plan["packed"]
    assert model.model.config._attn_implementation == "sdpa"
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5


def test_trees_are_cut_where_the_budget_ends_and_stay_the_same(monkeypatch):
    monkeypatch.setattr("hfbiasedit.scoring.engine._TOKENS", {"cpu": 100})
    model = tiny("mistral", sliding_window=8)
    encoded = encode(model.tokenizer, records())
    expected = np.array([brute_force(model.model, prompt) for prompt in encoded])
    sizes: list[int] = []

    def note(_module, _args, kwargs, _output):
        if kwargs["position_ids"] is not None:  # not so in the pass that checks the first tree
            sizes.append(kwargs["input_ids"].numel())

    model.model.model.register_forward_hook(note, with_kwargs=True)
    found = score(model, encoded)
    assert found.plan["packed"]
    assert len(sizes) > 3
    assert max(sizes) <= 100
    assert differences(found, expected) < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize(("bos", "pad"), [(False, True), (True, False)])
def test_batch_size_order_padding_side_and_special_tokens_do_not_matter(family, bos, pad):
    model = tiny(family)
    model.tokenizer = tiny_tokenizer(bos=bos, pad=pad)
    encoded = encode(model.tokenizer, records())
    expected = np.array([brute_force(model.model, prompt) for prompt in encoded])
    order = np.random.default_rng(0).permutation(len(encoded))
    for size in (1, 3, 16):
        for side in ("left", "right"):
            model.tokenizer.padding_side = side
            again = encode(model.tokenizer, records())
            assert again == encoded
            found = score(model, [again[index] for index in order], batch_size=size)
            assert differences(found, expected[order]) < 1e-5


def test_candidates_that_extend_the_other_gender_are_taken_off_it():
    model = tiny("llama")
    prompt = EncodedPrompt(
        context=(5, 6, 7),
        male=((10,), (10, 11, 12)),
        female=((10, 11), (20,)),
        male_minus=((10, 11),),
        female_minus=((10, 11, 12),),
    )
    found = score(model, [prompt])
    male, female = brute_force(model.model, prompt)
    assert found.log_male[0] == pytest.approx(male, abs=1e-5)
    assert found.log_female[0] == pytest.approx(female, abs=1e-5)
    # Together they are what the texts that begin with 10 or 20 are worth: nothing is counted twice.
    both = math.exp(found.log_male[0]) + math.exp(found.log_female[0])
    plain = EncodedPrompt(context=(5, 6, 7), male=((10,),), female=((20,),))
    apart = score(model, [plain])
    assert both == pytest.approx(math.exp(apart.log_male[0]) + math.exp(apart.log_female[0]))


def test_a_shared_prefix_is_computed_once():
    model = tiny("llama")
    encoded = [EncodedPrompt((1,) * 60 + (n, 3), ((10,),), ((11,),)) for n in range(2, 22)]
    seen: list[int] = []
    model.model.model.register_forward_hook(
        lambda _m, _a, kwargs, _o: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    score(model, encoded)
    # The prefix and the tails, rounded up, and one plain prompt to check that sharing is exact.
    assert seen == [104, 62]


def test_one_token_candidates_cost_one_pass_and_only_needed_logits():
    model = tiny("gpt2")
    encoded = encode(model.tokenizer, records()[:5])
    short = [dataclasses.replace(p, male=((1,), (2,)), female=((3,), (4,))) for p in encoded]
    heads: list[tuple[int, ...]] = []
    model.model.lm_head.register_forward_hook(lambda _m, _a, out: heads.append(tuple(out.shape)))
    score(model, short, share_prefixes=False)
    assert heads == [(1, 5, 512)]


def test_a_model_whose_cache_cannot_be_trusted_is_scored_without():
    model = tiny(WITHOUT_TREES)
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded, share_prefixes=False)
    inner = model.model.model
    plain = inner.forward

    def forgetful(*args, past_key_values=None, **kwargs):
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            kwargs["position_ids"] = torch.arange(kwargs["input_ids"].shape[1])[None]
        return plain(*args, past_key_values=past_key_values, **kwargs)

    inner.forward = forgetful
    assert can_share_prefix(model.model)
    found = score(model, encoded)
    assert not found.plan["prefix_sharing"]
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5


@pytest.mark.parametrize("family", ["llama", WITHOUT_TREES])
def test_running_out_of_memory_halves_the_batch(monkeypatch, family):
    model = tiny(family)
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded)
    forward = model.model.forward
    sizes = []

    def limited(input_ids, **kwargs):
        sizes.append(max(input_ids.shape[0], input_ids.shape[1] // 25))
        if sizes[-1] > 4:  # rows, or a row that holds more than one prompt should
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model.model, "forward", limited)
    found = score(model, encoded)
    assert found.plan["halvings"] > 0
    assert max(sizes[-5:]) <= 4
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5

    def never(**_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.model, "forward", never)
    with pytest.raises(BiasEditError, match="a single prompt"):
        score(model, encoded)


def test_other_errors_of_the_model_are_not_mistaken_for_memory(monkeypatch):
    model = tiny("llama")
    encoded = encode(model.tokenizer, records()[:3])

    def broken(**_kwargs):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(model.model, "forward", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        score(model, encoded)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_logits_are_an_error(value):
    model = tiny("llama")
    model.model.lm_head.weight.data[17] = value
    with pytest.raises(BiasEditError, match=r"NaN or infinite on prompt .*nurse"):
        score(model, encode(model.tokenizer, records()[:1]))


def test_what_cannot_be_scored_is_refused():
    model = tiny("gpt2", n_positions=20)
    encoded = encode(model.tokenizer, records())
    with pytest.raises(BiasEditError, match=r"has \d+ tokens and the model takes 20"):
        score(model, encoded)
    with pytest.raises(BiasEditError, match="holds no prompts"):
        score(model, [])
    small = tiny("llama", vocab_size=300)
    with pytest.raises(BiasEditError, match="does not belong to this model"):
        score(small, encoded)
    for size in (0, -1, "many", "2.5"):
        with pytest.raises(BiasEditError, match="batch size"):
            score(tiny("llama"), encoded, batch_size=size)


def test_known_results_are_kept_and_their_batches_skipped():
    model = tiny("llama")
    encoded = encode(model.tokenizer, records())
    batches: list[tuple[list[int], list[float]]] = []

    class Bar:
        total = 0

        def advance(self, amount: float = 1) -> None:
            self.total += amount

        def describe(self, description: str) -> None: ...

    full = score(
        model, encoded, batch_size=4, on_batch=lambda i, m, f: batches.append((list(i), list(m)))
    )
    assert sorted(i for index, _ in batches for i in index) == list(range(len(encoded)))
    known = {i: (full.log_male[i], full.log_female[i]) for index, _ in batches[:6] for i in index}
    calls = []
    bar = Bar()
    again = score(
        model, encoded, batch_size=4, known=known, progress=bar,
        on_batch=lambda i, m, f: calls.append(list(i)),
    )  # fmt: skip
    assert calls == [index for index, _ in batches[6:]]
    assert bar.total == len(encoded)
    assert np.array_equal(full.log_male, again.log_male)
    assert np.array_equal(full.log_female, again.log_female)


def test_same_plan_for_a_model_and_its_edited_version():
    plans = []
    for seed in (0, 1):
        model = tiny("llama", seed=seed, dtype="bfloat16")
        plans.append(score(model, encode(model.tokenizer, records())).plan)
    assert plans[0] == plans[1]


def test_noise_floor_is_nothing_in_float32_and_something_in_bfloat16():
    exact = tiny("llama")
    encoded = encode(exact.tokenizer, records())
    assert noise_floor(exact, encoded, score(exact, encoded)).largest < 1e-3
    rough = tiny("llama", dtype="bfloat16")
    floor = noise_floor(rough, encoded, score(rough, encoded))
    assert floor.prompts == 16
    assert 0 < floor.mean <= floor.largest < 20


def test_a_model_that_fails_with_a_cache_is_scored_without(monkeypatch):
    model = tiny(WITHOUT_TREES)
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded, share_prefixes=False)
    forward = model.model.forward

    def legacy(input_ids, past_key_values=None, **kwargs):
        if past_key_values is not None:
            raise AttributeError("'DynamicCache' object has no attribute 'seen_tokens'")
        return forward(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model.model, "forward", legacy)
    found = score(model, encoded)
    assert not found.plan["prefix_sharing"]
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5


@pytest.mark.parametrize("family", ["llama", WITHOUT_TREES])
def test_resumed_prefixes_grow_as_in_one_run(monkeypatch, family):
    monkeypatch.setattr("hfbiasedit.scoring.engine._TOKENS", {"cpu": 100})
    model = tiny(family, dtype="bfloat16")
    heads = [(1,) * 50 + (2,) * size + (3,) * 20 for size in (2, 5, 9, 12)]
    encoded = [
        EncodedPrompt((*head, n), ((10,),), ((11,),)) for head in heads for n in range(20, 50)
    ]
    batches: list[list[int]] = []
    full = score(model, encoded, on_batch=lambda i, m, f: batches.append(list(i)))
    assert len(batches) > 3
    known = {i: (full.log_male[i], full.log_female[i]) for batch in batches[:-1] for i in batch}
    again = score(model, encoded, known=known)
    assert np.array_equal(full.log_male, again.log_male)
    assert np.array_equal(full.log_female, again.log_female)


def test_a_model_larger_than_its_device():
    import accelerate

    model = tiny("llama")
    encoded = encode(model.tokenizer, records())
    expected = score(model, encoded)
    accelerate.cpu_offload(model.model)  # weights arrive layer by layer, none has a device
    assert model.model.device.type == "meta"
    assert model.device.type == "cpu"
    found = score(model, encoded)
    assert found.plan == expected.plan
    assert differences(found, np.stack([expected.log_male, expected.log_female], 1)) < 1e-5
