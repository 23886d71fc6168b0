"""The real lm-evaluation-harness, in this process and over HTTP, against the built-in engine."""

import json
import shutil
import sys

import jsonschema
import numpy as np
import pytest
from transformers import AddedToken

from hfbiasedit import audit
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.resources import data_path
from hfbiasedit.scoring.harness import connection
from tests.scoring.harness.server import serving
from tests.scoring.worlds import loaded, records, save, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer

pytest.importorskip("lm_eval", reason="lm-eval is not installed (the extra `lm-eval`)")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    return save(tmp_path_factory.mktemp("harness") / "model", model)


@pytest.fixture
def server(model):
    """One of the test's own: what an earlier test asked may be answered late."""
    with serving(model, tiny_tokenizer()) as running:
        yield running


@pytest.fixture
def options(tmp_path):
    prompts = write_prompts(tmp_path / "prompts.jsonl", records())
    return dict(prompts=prompts, samples=50, backend="lm-eval")


def reach(server, *more):
    return ",".join(["local-completions", f"base_url={server.url}", "max_retries=1", *more])


def same_scores(found, expected):
    assert found.fb_score == pytest.approx(expected.fb_score, abs=1e-4)
    for key in ("log_male", "log_female"):
        assert np.abs(np.subtract(found.records[key], expected.records[key])).max() < 1e-4


@pytest.fixture(scope="module")
def engine(folder, tmp_path_factory):
    """The built-in engine's report on the same prompts."""
    own = write_prompts(tmp_path_factory.mktemp("engine") / "prompts.jsonl", records())
    return audit(folder, prompts=own, samples=50)


def test_in_process_it_gives_the_scores_of_the_engine(folder, options, engine):
    report = audit(folder, backend_args="hf,device=cpu", **options)
    same_scores(report, engine)
    document = report.to_dict()
    jsonschema.validate(document, json.loads(data_path("schemas", "audit.json").read_text("utf-8")))
    assert document["backend"]["model"] == "hf"
    assert document["backend"]["missing"] == ["noise floor"]
    assert document["noise_floor"] is None
    assert document["model"]["dtype"] == "float32"
    assert document["model"]["parameters"] == engine.to_dict()["model"]["parameters"]
    said = [text for text in document["notes"] if "scored by lm-eval (hf)" in text]
    assert "no noise floor" in said[0]
    assert "unknown" in report.table()


@pytest.mark.parametrize("more", [(), ("num_concurrent=4",), ("tokenized_requests=False",)])
def test_through_a_server_it_gives_the_scores_of_the_engine(server, folder, options, engine, more):
    report = audit(folder, backend_args=reach(server, *more), **options)
    same_scores(report, engine)
    document = report.to_dict()
    assert document["model"]["dtype"] == "unknown"
    assert document["model"]["parameters"] == engine.to_dict()["model"]["parameters"]
    assert "127.0.0.1" not in json.dumps(document)


def test_several_sequences_go_into_one_request(server, folder, options, engine):
    same_scores(audit(folder, backend_args=reach(server), batch_size=8, **options), engine)
    sequences = sum(len({*row.male, *row.female}) for row in records())
    assert server.answered < sequences / 4


def test_a_backend_that_takes_text_alone(server, folder, options, engine):
    address = server.url.removesuffix("/v1/completions")
    report = audit(folder, backend_args=f"gguf,base_url={address}", **options)
    assert report.fb_score == pytest.approx(engine.fb_score, abs=1e-3)
    assert report.to_dict()["backend"]["missing"] == ["noise floor", "tokens"]
    assert any("cut the texts into tokens itself" in text for text in report.warnings)


def test_a_chat_is_not_put_to_a_backend_that_takes_text_alone(server, options, tmp_path, model):
    """Its markers are tokens that a text does not have; all that is said in words can be sent."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<|im_start|>", special=True)])
    tokenizer.chat_template = CHAT
    marked = save(tmp_path / "marked", model, tokenizer)
    address = server.url.removesuffix("/v1/completions")
    options |= {"backend_args": f"gguf,base_url={address}", "limit": 2}
    with pytest.raises(
        BiasEditError, match=r"special token <\|im_start\|> in it; leave --chat out"
    ):
        audit(marked, chat=True, **options)
    assert server.answered == 0
    audit(marked, **options)
    tokenizer.chat_template = CHAT.replace("<|im_start|>", "### ")
    audit(save(tmp_path / "words", model, tokenizer), chat=True, **options)


def test_secrets_reach_the_server_and_nobody_else(server, folder, options, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    partial = tmp_path / "partial.jsonl"
    server.fault, server.fail_after = "status 503", 180
    arguments = reach(server, "auth_token=open", "model=served-name")
    with pytest.raises(BiasEditError):
        audit(folder, partial=partial, backend_args=arguments, **options)
    server.fault = ""
    report = audit(folder, backend_args=arguments, limit=3, **options)
    assert set(server.headers_seen) == {"Bearer sesame"}
    assert report.to_dict()["backend"]["arguments"]["model"] == "served-name"
    for written in (json.dumps(report.to_dict()), partial.read_text()):
        assert "served-name" in written
        assert "sesame" not in written
        assert "auth_token" not in written
    assert "127.0.0.1" not in json.dumps(report.to_dict())


def test_an_interrupted_audit_goes_on_where_it_was(server, folder, options, tmp_path, engine):
    options |= {"partial": tmp_path / "partial.jsonl", "backend_args": reach(server)}
    server.fault, server.fail_after = "status 503", 200
    with pytest.raises(BiasEditError, match="answers 503: the engine is gone$"):
        audit(folder, **options)
    assert server.answered == 200
    server.fault = ""
    with pytest.raises(BiasEditError, match="cannot resume"):
        audit(folder, resume=True, **options | {"backend_args": reach(server, "model=other")})
    server.answered = 0
    same_scores(audit(folder, resume=True, **options), engine)
    rest, server.answered = server.answered, 0
    audit(folder, **options)
    assert 0 < rest < server.answered <= rest + 200


@pytest.mark.parametrize(
    ("fault", "more", "message"),
    [
        ("status 503", (), "answers 503: the engine is gone"),
        ("status 401", (), "refuses the key"),
        ("status 429", (), "is asked too often"),
        ("slow", ("timeout=1",), "did not answer within 1 s"),
        ("slow", ("timeout=1", "num_concurrent=2"), "did not answer within 1 s"),
        ("status 503", ("num_concurrent=2",), "answers 503"),
        ("no logprobs", (), "gives no log-probabilities"),
        ("no logprobs", ("num_concurrent=2",), "gives no log-probabilities"),
        ("no echo", (), "gives no log-probabilities"),
        ("text", (), "something else than JSON"),
    ],
)
def test_a_server_that_fails_gets_one_line(server, folder, options, capfd, fault, more, message):
    server.fault = fault
    with pytest.raises(BiasEditError, match=message) as caught:
        audit(folder, backend_args=reach(server, *more), **options)
    assert "\n" not in str(caught.value)
    said = capfd.readouterr().err
    assert "API" not in said  # the library's own bars and log lines
    assert "Traceback" not in said


def test_no_server_gets_one_line(folder, options):
    arguments = "local-completions,base_url=http://127.0.0.1:9/v1/completions,max_retries=1"
    with pytest.raises(BiasEditError, match="cannot be reached; is the server running"):
        audit(folder, backend_args=arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(backend_args=None), "say which model of lm-eval"),
        (dict(backend_args="base_url=x"), "say which model of lm-eval"),
        (dict(backend_args="local-completion,base_url=x"), "did you mean local-completions"),
        (dict(backend_args="hf,pretrained=x"), "MODEL stands for it"),
        (dict(backend_args="hf,batch_size=2"), "use --batch-size"),
        (dict(backend_args="hf,surprise=2,device=cpu"), "hf of lm-eval failed"),
        (dict(backend_args="dummy"), "gives no log-probabilities"),
        (dict(backend_args="local-completions,base_url=x", dtype="float32"), "leave --dtype"),
        (dict(backend_args="hf", patch="x"), "patch apply"),
        (dict(backend_args="hf", device_map="auto"), "leave device_map out"),
        (dict(backend_args="hf", backend="engine"), "go with the backend lm-eval"),
    ],
)
def test_bad_options_are_one_line(folder, options, arguments, message):
    with pytest.raises((BiasEditError, UsageError), match=message) as caught:
        audit(folder, **{**options, **arguments})
    assert "\n" not in str(caught.value)


def test_prompts_that_would_be_cut_are_refused(server, folder, options):
    with pytest.raises(BiasEditError, match="tokens and the model takes 20"):
        audit(folder, backend_args=reach(server, "max_length=20"), **options)
    assert server.answered == 0


def test_a_model_that_is_loaded_here_is_refused(options, model):
    with pytest.raises(UsageError, match="holds models itself"):
        audit(loaded(model), backend_args="hf", **options)


def test_an_adapter_in_the_cache_is_not_loaded(folder, options, tmp_path, monkeypatch):
    """The engine leaves aside what another program fetched; this backend would load it."""
    copy = shutil.copytree(folder, tmp_path / "snapshot")
    (copy / "adapter_config.json").write_text("{}")
    source = ModelSource("org/name", copy, commit="a" * 40)
    monkeypatch.setattr(connection, "resolve_model", lambda *args, **options: source)
    with pytest.raises(BiasEditError, match="adapter .* audit with the built-in engine"):
        audit("org/name", backend_args="hf,device=cpu", **options)


def test_without_the_library_the_line_says_what_to_install(folder, options, monkeypatch):
    for name in ("lm_eval.models", "lm_eval"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BiasEditError, match=r"pip install 'hfbiasedit\[lm-eval\]'"):
        audit(folder, backend_args="hf", **options)
