"""Metrics of commands, as a tracker gets them."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import pytest

from hfbiasedit import audit
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.editing.config import EditConfig
from hfbiasedit.editing.editor import edit
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.tracking import numbers
from tests.editing.test_editor import FAST, anchor, checkpoint, prompts  # noqa: F401
from tests.scoring.worlds import loaded, records, write_prompts
from tests.tiny import tiny_model, tiny_tokenizer


class Fake(types.ModuleType):
    """A library as trackio and wandb are; it prints, as they do."""

    def __init__(self, name, broken=""):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)  # others look for it
        self.runs, self.logged, self.finished, self.broken = [], [], 0, broken

    def init(self, **options):
        print("* a run begins")
        if self.broken == "init":
            raise RuntimeError("no login\nand more")
        self.runs.append(options)

    def log(self, metrics, step=None):
        if self.broken == "log":
            raise OSError("disk full")
        self.logged.append((step, metrics))

    def finish(self):
        self.finished += 1


@pytest.fixture
def own(tmp_path):
    return dict(prompts=write_prompts(tmp_path / "own.jsonl", records()), samples=50)


def fake(monkeypatch, name="trackio", broken=""):
    made = Fake(name, broken)
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_an_audit_sends_its_scores_once(own, monkeypatch, capsys, name):
    library = fake(monkeypatch, name)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    report = audit(loaded(tiny_model("llama"), tiny_tokenizer()), track=name, **own)
    (begun,) = library.runs
    assert begun["project"] == ("mine" if name == "wandb" else "hfbiasedit")
    assert begun["config"]["prompts"] == "own.jsonl"
    ((step, metrics),) = library.logged
    assert step is None
    assert metrics["audit/fb_score"] == report.fb_score
    assert (metrics["audit/ci95_low"], metrics["audit/ci95_high"]) == report.ci95
    assert library.finished == 1
    assert capsys.readouterr().out == ""


def test_nothing_is_sent_unless_it_is_asked_for(own, monkeypatch):
    library = fake(monkeypatch)
    audit(loaded(tiny_model("llama"), tiny_tokenizer()), **own)
    assert library.runs == []


def test_an_edit_sends_its_steps_and_what_came_of_it(
    checkpoint, prompts, anchor, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    library = fake(monkeypatch)
    config = EditConfig(budget="10%", prompts=prompts, anchor=anchor, track="trackio", **FAST)
    document = edit(checkpoint, config, out=tmp_path / "run").edit
    *steps, (last, metrics) = library.logged
    assert [step for step, _ in steps] == [row["step"] for row in document["history"]]
    assert steps[0][1]["edit/dev_fb"] == document["history"][0]["dev_fb"]
    assert last is None
    assert metrics["edit/splits/test/fb_after"] == document["splits"]["test"]["fb_after"]
    assert metrics["edit/edited/weights"] == document["edited"]["weights"]
    assert library.finished == 1


def test_ability_sends_the_numbers_of_its_tasks(monkeypatch):
    library = fake(monkeypatch)
    document = measure_ability(
        loaded(tiny_model("llama"), tiny_tokenizer()),
        tasks=("perplexity",), limit=1, window=64, track="trackio",
    )  # fmt: skip
    ((_, metrics),) = library.logged
    key = "ability/perplexity/before/token_perplexity"
    assert metrics[key] == document["perplexity"]["before"]["token_perplexity"]


def test_a_tracker_that_fails_costs_no_measurement(own, monkeypatch, capsys):
    model = loaded(tiny_model("llama"), tiny_tokenizer())
    library = fake(monkeypatch, broken="log")
    assert audit(model, track="trackio", **own).fb_score > 0
    assert "trackio took no metrics: disk full" in capsys.readouterr().err
    assert library.finished == 1


def test_a_tracker_that_cannot_begin_is_one_line_before_the_work(tmp_path, monkeypatch):
    fake(monkeypatch, broken="init")
    with pytest.raises(BiasEditError, match=r"^trackio does not begin: no login$"):
        audit(tmp_path / "missing", track="trackio")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BiasEditError, match="pip install wandb"):
        audit(tmp_path / "missing", track="wandb")
    with pytest.raises(
        UsageError, match="unknown tracker 'tensorboard'; use one of trackio, wandb"
    ):
        audit(tmp_path / "missing", track="tensorboard")


def test_a_failed_audit_ends_its_run(tmp_path, monkeypatch):
    library = fake(monkeypatch)
    with pytest.raises(BiasEditError):
        audit(tmp_path / "missing", track="trackio")
    assert (library.finished, library.logged) == (1, [])


def test_numbers_are_named_by_their_path():
    document = {"a": {"b": 1, "c": True, "d": "text", "rows": [1, 2]}, "ci95": [0, 2.5], "n": None}
    assert numbers(document) == {"a/b": 1, "ci95_low": 0, "ci95_high": 2.5}
