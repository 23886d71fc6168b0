"""Against a scorer that runs every document alone and once per token."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hfbiasedit.abilities import perplexity as module
from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.perplexity import measure_perplexity, score_windows
from hfbiasedit.abilities.text_windows import cut_windows, encode_documents
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel
from hfbiasedit.patches.patch import Patch
from hfbiasedit.texts.corpus import Corpus
from tests.tiny import tiny_model, tiny_tokenizer

TEXTS = (
    "def add(a, b):\n    return a + b\n",
    "for name in names:\n    print(name.upper())\n" * 3,
    "x = 1\n",
    "const total = rows.reduce((sum, row) => sum + row.price, 0);\n",
)
CORPUS = Corpus("test", ("a", "b", "c", "d"), TEXTS)


def load(family="llama", **options):
    model = tiny_model(family, **options).requires_grad_(False)
    return LoadedModel(model, tiny_tokenizer(), ModelSource("test", Path()), str(model.dtype)[6:])


def brute_force(loaded, ids):
    """Log-probabilities of every next token, one forward pass per prefix, in float64."""
    with torch.no_grad():
        rows = [
            loaded.model(torch.tensor([ids[:end]])).logits[0, -1].double().log_softmax(-1)
            for end in range(1, len(ids))
        ]
    return torch.stack(rows)


@pytest.mark.parametrize("length", range(2, 12))
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 20])
def test_every_token_is_scored_exactly_once(length, size):
    ids = list(range(size))
    for stride in range(1, length):
        seen = []
        for window in cut_windows([ids, ids], length, stride):
            assert len(window.ids) <= length
            assert window.scored < len(window.ids)
            assert list(window.ids) == list(range(window.ids[0], window.ids[-1] + 1))
            seen += [(window.document, token) for token in window.ids[-window.scored :]]
        assert seen == [(document, token) for document in (0, 1) for token in ids[1:]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_perplexity_is_that_of_a_brute_force_scorer(family):
    loaded = load(family)
    result = measure_perplexity(loaded, CORPUS, AbilityConfig())["before"]
    sequences, sizes = encode_documents(loaded.tokenizer, TEXTS)
    total = count = 0
    for ids in sequences:
        logs = brute_force(loaded, ids)
        total -= sum(logs[i, token].item() for i, token in enumerate(ids[1:]))
        count += len(ids) - 1
    assert result["tokens"] == count
    assert result["bytes"] == sum(sizes) == sum(len(text) for text in TEXTS)
    assert math.log(result["token_perplexity"]) == pytest.approx(total / count, abs=1e-5)
    assert math.log(result["byte_perplexity"]) == pytest.approx(total / sum(sizes), abs=1e-5)
    low, high = result["ci95"]
    assert low < result["token_perplexity"] < high


def test_strided_windows_use_the_context_that_they_say():
    loaded = load()
    ids = encode_documents(loaded.tokenizer, TEXTS[1:2])[0][0]
    windows = list(cut_windows([ids], 32, 8))
    positions = score_windows(loaded, windows)
    expected = []
    for token in range(1, len(ids)):
        end = 32 if token < 32 else min(len(ids), 32 + 8 * math.ceil((token - 31) / 8))
        begin = max(0, end - 32)
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids[begin:token]])).logits[0, -1]
        expected.append(-logits.double().log_softmax(-1)[ids[token]].item())
    order = np.lexsort((np.arange(len(positions.nll)), positions.window))
    assert positions.nll[order] == pytest.approx(expected, abs=1e-4)


def edited(loaded, factor=1.3):
    other = load()
    with torch.no_grad():
        other.model.model.layers[1].mlp.down_proj.weight[:4] *= factor
    return other, Patch.from_models(loaded.model, other.model)


@pytest.mark.parametrize("held", [1, 1 << 29])
def test_before_and_after_are_compared_on_the_same_positions(held, monkeypatch):
    monkeypatch.setattr(module, "_HELD_BYTES", held)
    monkeypatch.setattr(module, "_FLOAT32_BYTES", 1 << 13)
    loaded = load()
    weights = {name: p.clone() for name, p in loaded.model.named_parameters()}
    other, patch = edited(loaded)
    result = measure_perplexity(loaded, CORPUS, AbilityConfig(), patch)
    assert all(torch.equal(p, weights[name]) for name, p in loaded.model.named_parameters())
    kl, changed = [], []
    for ids in encode_documents(loaded.tokenizer, TEXTS)[0]:
        old, new = brute_force(loaded, ids), brute_force(other, ids)
        kl += (old.exp() * (old - new)).sum(-1).tolist()
        changed += (old.argmax(-1) != new.argmax(-1)).tolist()
    assert result["kl_mean"] == pytest.approx(np.mean(kl), rel=1e-3)
    assert result["kl_p99"] == pytest.approx(np.percentile(kl, 99), rel=1e-3)
    assert result["top1_changed"] == pytest.approx(np.mean(changed))
    alone = measure_perplexity(other, CORPUS, AbilityConfig())["before"]
    assert result["after"]["token_perplexity"] == pytest.approx(alone["token_perplexity"], rel=1e-5)
    change = result["after"]["token_perplexity"] / result["before"]["token_perplexity"] - 1
    assert result["relative_change"] == pytest.approx(change, rel=1e-6)
    low, high = result["relative_change_ci95"]
    assert low < result["relative_change"] < high


def test_the_paired_interval_is_narrower_than_the_separate_ones():
    loaded = load()
    _, patch = edited(loaded, 1.01)
    result = measure_perplexity(loaded, CORPUS, AbilityConfig(), patch)
    low, high = result["before"]["ci95"]
    paired = result["relative_change_ci95"]
    assert paired[1] - paired[0] < 0.2 * (high - low) / result["before"]["token_perplexity"]


def test_batches_do_not_change_the_result(monkeypatch):
    loaded = load()
    one = measure_perplexity(loaded, CORPUS, AbilityConfig(window=16))
    monkeypatch.setattr(module, "_BATCH_TOKENS", {"cpu": 1})
    two = measure_perplexity(loaded, CORPUS, AbilityConfig(window=16))
    assert one["before"]["token_perplexity"] == pytest.approx(
        two["before"]["token_perplexity"], rel=1e-6
    )


def test_a_tokenizer_without_bos_and_eos_leaves_out_the_first_token():
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token = None
    sequences, sizes = encode_documents(tokenizer, ["def add"])
    ids = tokenizer("def add")["input_ids"]
    assert sequences == [ids]
    assert sizes == [len("def add") - len(tokenizer.decode(ids[:1]))]


def test_a_short_context_limits_the_window_or_is_refused():
    result = measure_perplexity(load(max_position_embeddings=32), CORPUS, AbilityConfig())
    assert (result["window"], result["stride"]) == (32, 16)
    with pytest.raises(BiasEditError, match="context of test is 8 tokens"):
        measure_perplexity(load(max_position_embeddings=8), CORPUS, AbilityConfig())


def test_nan_is_no_perplexity():
    loaded = load()
    with torch.no_grad():
        loaded.model.model.norm.weight[0] = float("nan")
    with pytest.raises(BiasEditError, match="NaN"):
        measure_perplexity(loaded, CORPUS, AbilityConfig())
