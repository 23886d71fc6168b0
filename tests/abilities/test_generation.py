import functools

import pytest
import torch

from hfbiasedit.abilities.generating.generation import (
    FUNCTION_STOPS,
    Request,
    Sampling,
    complete,
    decode_after,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = (
    "def add(a, b):\n    return",
    "x = 1\n",
    'row = {"name": "Ann", "job": "engineer", "gender": "',
)
REQUESTS = [Request(str(number), prompt) for number, prompt in enumerate(PROMPTS)]


def load(family="llama", tokenizer=None, **options):
    model = tiny_model(family, **options).requires_grad_(False)
    model.generation_config.do_sample = True  # what a checkpoint asks for must not matter
    model.generation_config.temperature = 0.1
    model.generation_config.repetition_penalty = 1.7
    return LoadedModel(model, tokenizer or tiny_tokenizer(), ModelSource("test", None), "float32")


def greedy(loaded, prompt, length):
    ids = loaded.tokenizer(prompt)["input_ids"]
    new = []
    for _ in range(length):
        with torch.no_grad():
            token = int(loaded.model(torch.tensor([ids + new])).logits[0, -1].argmax())
        if token == loaded.tokenizer.eos_token_id:
            return new, "end"
        new.append(token)
    return new, "length"


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_greedy_completions_are_those_of_a_loop_over_one_prompt(family):
    loaded = load(family)
    written = complete(loaded, REQUESTS, Sampling(12))
    for request, completion in zip(REQUESTS, written, strict=True):
        tokens, finish = greedy(loaded, request.prompt, 12)
        assert completion.key == request.key
        assert completion.text == loaded.tokenizer.decode(tokens)
        assert completion.finish == finish


def test_a_model_without_a_device_of_its_own_writes_the_same():
    import accelerate

    loaded = load()
    expected = complete(loaded, REQUESTS, Sampling(6))
    accelerate.cpu_offload(loaded.model)  # weights arrive layer by layer
    assert loaded.model.device.type == "meta"
    assert complete(loaded, REQUESTS, Sampling(6)) == expected


def test_samples_depend_on_the_key_and_the_seed_only():
    loaded = load()
    sampling = Sampling(10, temperature=0.9, top_p=0.9, seed=3)
    together = complete(loaded, REQUESTS, sampling)
    alone = [complete(loaded, [request], sampling)[0] for request in REQUESTS]
    assert [c.text for c in together] == [c.text for c in alone]
    again = complete(loaded, REQUESTS[::-1], sampling, batch_size="1")[::-1]
    assert [c.text for c in together] == [c.text for c in again]
    other = complete(loaded, REQUESTS, Sampling(10, temperature=0.9, top_p=0.9, seed=4))
    assert [c.text for c in together] != [c.text for c in other]


def test_sampling_follows_the_tempered_distribution():
    loaded = load()
    prompt, n = PROMPTS[0], 600
    requests = [Request(f"{k}", prompt) for k in range(n)]
    written = complete(loaded, requests, Sampling(1, temperature=0.7, top_p=0.8), batch_size="100")
    with torch.no_grad():
        logits = loaded.model(torch.tensor([loaded.tokenizer(prompt)["input_ids"]])).logits[0, -1]
    p = (logits / 0.7).softmax(-1)
    order = p.argsort(descending=True)
    size = int((p[order].cumsum(0) < 0.8).sum()) + 1
    allowed = {
        loaded.tokenizer.decode([int(t)]): float(p[t] / p[order[:size]].sum()) for t in order[:size]
    }
    counts = {}
    for completion in written:
        counts[completion.text] = counts.get(completion.text, 0) + 1
    assert set(counts) <= set(allowed)
    best = max(allowed, key=allowed.get)
    assert counts[best] / n == pytest.approx(allowed[best], abs=4 * (allowed[best] / n) ** 0.5)


def test_stop_sequences_cut_and_end_a_completion():
    loaded = load()
    tokens, _ = greedy(loaded, PROMPTS[1], 20)
    text = loaded.tokenizer.decode(tokens)
    stop = text[5:8]
    (found,) = complete(loaded, REQUESTS[1:2], Sampling(20, (stop, "never there")))
    assert found.text == text[: text.index(stop)]
    assert found.finish == "stop"


@pytest.mark.parametrize("plain", [True, False])  # keys and values to share, or not
def test_a_stop_sequence_across_tokens_and_rows_of_different_length(plain):
    loaded = load()
    script = loaded.tokenizer("  return a\n\ndef other")["input_ids"]
    original = loaded.model.forward

    def forward(*args, **kwargs):
        output = original(*args, **kwargs)
        step = forward.step = forward.step + 1
        output.logits[:] = -10.0
        output.logits[..., script[min(step, len(script) - 1)]] = 10.0
        return output

    forward.step = -1
    loaded.model.forward = functools.wraps(original)(forward) if plain else forward
    requests = REQUESTS if plain else REQUESTS[:1]
    written = complete(loaded, requests, Sampling(len(script) + 5, FUNCTION_STOPS))
    assert {c.text for c in written} == {"  return a\n"}
    assert {c.finish for c in written} == {"stop"}
    assert forward.step < len(script) + 4


MANY = [
    Request(f"many {number}", text)
    for number, text in enumerate(
        (
            *PROMPTS,
            "return",
            "def mean(values):\n    return sum(",
            "# The engineer",
            "SELECT *",
            "x" * 40,
        )
    )
]
FAMILIES = ["llama", "gpt2", "gemma2", "mistral", "codegen", "gpt_bigcode", "deepseek_v3", "phi"]
OTHERS = {
    "bloom": dict(hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2),
    "opt": dict(hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128, word_embed_proj_dim=32, init_std=0.2),
    "mamba": dict(hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.2),
}  # fmt: skip


def load_other(family, **overrides):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    options = dict(vocab_size=512, bos_token_id=0, eos_token_id=0, pad_token_id=0) | overrides
    config = AutoConfig.for_model(family, **options)
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    return LoadedModel(model, tiny_tokenizer(), ModelSource("test", None), "float32")


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_completions_are_the_same_one_by_one_and_together(family):
    loaded = load_other(family, **OTHERS[family]) if family in OTHERS else load(family)
    tokens, _ = greedy(loaded, MANY[1].prompt, 24)
    stops = (loaded.tokenizer.decode(tokens)[3:5], "e ")  # so that rows end at different steps
    alone = [complete(loaded, [one], Sampling(24, stops))[0] for one in MANY]
    for size in ("3", "auto"):
        seen = []
        together = complete(
            loaded, MANY, Sampling(24, stops), batch_size=size, on_batch=seen.extend
        )
        assert together == alone
        assert sorted(seen, key=lambda one: one.key) == together
    assert len({len(one.text) for one in alone}) > 1
    for request, completion in zip(MANY, alone, strict=True):
        text = loaded.tokenizer.decode(greedy(loaded, request.prompt, 24)[0])
        assert completion.text == text[: min([text.find(s) for s in stops if s in text] or [None])]


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_nothing_of_the_models_own_generation_settings_is_mixed_in(family):
    """`generate`, which models without plain keys and values write with, would take them."""
    loaded = load_other(family, **OTHERS[family]) if family in OTHERS else load(family)
    plain = complete(loaded, MANY, Sampling(24))
    own = loaded.model.generation_config
    own.no_repeat_ngram_size, own.min_new_tokens = 1, 24
    assert complete(loaded, MANY, Sampling(24)) == plain
    assert loaded.model.generation_config is own


def test_a_completion_has_its_own_room_whoever_shares_its_batch():
    loaded = load("gpt2", n_positions=48)
    lengths = [len(loaded.tokenizer(one.prompt)["input_ids"]) for one in MANY]
    assert len(set(lengths)) > 3
    assert max(lengths) < 48
    for one, length, found in zip(MANY, lengths, complete(loaded, MANY, Sampling(99)), strict=True):
        tokens, finish = greedy(loaded, one.prompt, 48 - length)
        assert (found.text, found.finish) == (loaded.tokenizer.decode(tokens), finish)


def test_an_appended_end_token_is_no_part_of_a_prompt():
    from tokenizers.processors import TemplateProcessing

    plain, ending = load(), load(tokenizer=tiny_tokenizer())
    ending.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    assert ending.tokenizer("x")["input_ids"][-1] == 0
    assert complete(ending, REQUESTS, Sampling(8)) == complete(plain, REQUESTS, Sampling(8))


def test_a_tokenizer_of_another_model_is_refused():
    small = load(vocab_size=300)
    with pytest.raises(
        BiasEditError, match="tokenizer does not belong .* many 4 .* 300 embeddings"
    ):
        complete(small, MANY[4:5], Sampling(4))


@pytest.mark.parametrize("unknown", ["<unk>", None])
def test_a_tokenizer_that_cannot_encode_code_is_refused(unknown):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "</s>": 1}
    model = (
        models.WordLevel(vocabulary, unk_token=unknown) if unknown else models.BPE(vocabulary, [])
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), unk_token=unknown, bos_token="</s>", eos_token="</s>"
    )
    with pytest.raises(BiasEditError, match="tokenizer of test makes nothing of 0"):
        complete(load(tokenizer=made), REQUESTS, Sampling(4))


def test_a_prompt_longer_than_the_context_is_named():
    loaded = load("gpt2", n_positions=24)  # fails beyond its learned positions
    with pytest.raises(BiasEditError, match="2 has .* tokens, but the context of test is 24"):
        complete(loaded, [REQUESTS[1], Request("2", PROMPTS[2] * 3)], Sampling(8))
    (short,) = complete(loaded, [REQUESTS[0]], Sampling(1000))
    assert short.finish == "length"
    assert short.text == loaded.tokenizer.decode(greedy(loaded, PROMPTS[0], 24 - 12)[0])


def test_an_empty_prompt_starts_with_the_first_token():
    loaded = load()
    (completion,) = complete(loaded, [Request("empty", "")], Sampling(4))
    tokens = []
    for _ in range(4):
        with torch.no_grad():
            tokens.append(int(loaded.model(torch.tensor([[0, *tokens]])).logits[0, -1].argmax()))
    assert completion.text == loaded.tokenizer.decode(tokens, skip_special_tokens=True)


def test_a_leading_space_survives():
    tokenizer = tiny_tokenizer()
    prompt, new = tokenizer("return")["input_ids"], tokenizer(" a + b")["input_ids"]
    assert decode_after(tokenizer, prompt, new) == " a + b"
