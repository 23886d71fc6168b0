import json

import pytest

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.generating.generation import Completion
from hfbiasedit.abilities.syntax import load_stubs, measure_syntax, parses
from hfbiasedit.errors import BiasEditError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel
from tests.tiny import tiny_model, tiny_tokenizer

PROMPT = 'def add(a, b):\n    """Add."""\n'


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("    return a + b", "stop", True),
        ("    total = a + b\n    return total\n", "end", True),
        ("    return a + b\n    # and", "length", True),
        ("    return a +", "stop", False),
        ("    return (a + b", "end", False),
        ("    return a + b\n    retu", "length", True),
        ("    if a:\n", "length", False),
        ("    retu", "length", False),  # nothing but an unfinished line
        ("", "end", False),
        ("\n\n", "stop", False),
        ("    # only a comment\n", "stop", False),
        ("return a + b", "end", False),
        ("    return '\x00'", "end", False),
        ("    return " + "(" * 5000, "end", False),
        ("    return '\\d'", "end", True),
    ],
)
def test_parses(text, finish, expected):
    assert parses(PROMPT, Completion("k", text, finish)) is expected


def test_the_stubs_that_ship():
    stubs = load_stubs(None)
    assert len(stubs) >= 100
    assert len({stub.name for stub in stubs}) == len(stubs)
    for stub in stubs:
        assert not parses(stub.prompt, Completion("k", "", "end"))
        assert parses(stub.prompt, Completion("k", "    return None\n", "end"))
    assert len(load_stubs(None, 7)) == 7


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "x"}, "line 1: no field 'prompt'"),
        ({"name": "x", "prompt": "x = 1\n"}, "line 1: the prompt is not the head"),
        ({"name": "x", "prompt": "def f(:\n"}, "line 1: the prompt is not the head"),
    ],
)
def test_malformed_stubs(tmp_path, row, message):
    path = tmp_path / "stubs.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(BiasEditError, match=message):
        load_stubs(path)
    path.write_text("\n")
    with pytest.raises(BiasEditError, match="holds no stubs"):
        load_stubs(path)


def test_rates_of_a_model_that_writes_what_it_is_told(monkeypatch):
    stubs = load_stubs(None, 20)

    def written(loaded, requests, sampling, **_):
        good = 15 if sampling.temperature == 0 else 5
        return [
            Completion(r.key, "    return 1\n" if i < good else "    return (", "stop")
            for i, r in enumerate(requests)
        ]

    monkeypatch.setattr("hfbiasedit.abilities.syntax.complete", written)
    result = measure_syntax(None, stubs, AbilityConfig())
    assert result["before"]["greedy"]["rate"] == 0.75
    assert result["before"]["sampled"]["rate"] == 0.25
    # Wilson's interval for 15 of 20, by hand.
    assert result["before"]["greedy"]["ci95"] == pytest.approx([0.5313, 0.8881], abs=1e-4)


def test_a_real_model_is_measured():
    model = tiny_model("llama").requires_grad_(False)
    loaded = LoadedModel(model, tiny_tokenizer(), ModelSource("test", None), "float32")
    config = AbilityConfig(max_new_tokens=6, limit=3)
    result = measure_syntax(loaded, load_stubs(None, 3), config)
    assert result["before"]["sampled"]["n"] == 3
    assert result == measure_syntax(loaded, load_stubs(None, 3), config)
