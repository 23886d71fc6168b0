import pytest
import torch

from hfbiasedit.abilities.generation import (
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


def test_a_stop_sequence_across_tokens_and_rows_of_different_length():
    loaded = load()
    script = loaded.tokenizer("  return a\n\ndef other")["input_ids"]
    original = loaded.model.forward

    def forward(*args, **kwargs):
        output = original(*args, **kwargs)
        step = forward.step = forward.step + 1
        output.logits[:] = -10.0
        output.logits[:, :, script[min(step, len(script) - 1)]] = 10.0
        return output

    forward.step = -1
    loaded.model.forward = forward
    written = complete(loaded, REQUESTS, Sampling(len(script) + 5, FUNCTION_STOPS))
    assert {c.text for c in written} == {"  return a\n"}
    assert {c.finish for c in written} == {"stop"}
    assert forward.step < len(script) + 4


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
