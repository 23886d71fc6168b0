"""Scorers of installed packages: what an audit makes of them, and what is refused."""

import json

import numpy as np
import pytest

from hfbiasedit import audit
from hfbiasedit.audits.resumption import PartialFile
from hfbiasedit.errors import BiasEditError, UsageError
from hfbiasedit.scoring.engine import Scores
from hfbiasedit.scoring.noise import NoiseFloor
from tests.installing import install
from tests.scoring.worlds import loaded, records, save, write_prompts
from tests.tiny import tiny_model


class Coin:
    """Men and women are equally likely, whatever the model."""

    def __init__(self, model, prompts):
        self.count = len(prompts)

    def score(self, *, batch_size, progress, known, on_batch):
        halves = np.full(self.count, np.log(0.25))
        if on_batch is not None:
            on_batch(range(self.count), halves, halves)
        progress.advance(self.count)
        plan = {"batch_size": batch_size, "tokens": None, "halvings": 0, "prefix_sharing": False}
        return Scores(halves, halves.copy(), plan)

    def noise(self, scores):
        return NoiseFloor(0.0, 0.0, 1)


COIN = Coin(None, ())


@pytest.fixture
def options(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    points = {"coin": f"{__name__}:Coin", "tossed": f"{__name__}:COIN"}
    install(tmp_path / "site", "hfbiasedit.scorers", points, monkeypatch)
    write_prompts(tmp_path / "prompts.jsonl", records())
    return dict(prompts=tmp_path / "prompts.jsonl", samples=100)


def test_an_audit_asks_the_scorer_that_it_is_told_to(options):
    model = loaded(tiny_model("llama"))
    document = audit(model, backend="coin", **options).to_dict()
    assert document["fb_score"] == pytest.approx(document["baselines"]["even"], abs=1e-9)
    assert document["gender_mass"] == pytest.approx(0.5)
    assert "coin" in json.dumps(document)
    plain = audit(model, **options).to_dict()
    assert plain["fb_score"] != pytest.approx(document["fb_score"], abs=1e-3)
    assert audit(model, backend="engine", **options).to_dict() | {"seconds": 0} == plain | {
        "seconds": 0
    }


def test_results_of_one_scorer_are_not_continued_by_another(options, tmp_path, monkeypatch):
    save(tmp_path / "model", tiny_model("llama"))
    add = PartialFile.add

    def interrupted(self, *arguments):
        add(self, *arguments)
        raise KeyboardInterrupt

    options |= {"model": tmp_path / "model", "partial": tmp_path / "partial.jsonl"}
    with monkeypatch.context() as patched:
        patched.setattr(PartialFile, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit(**options)
    with pytest.raises(BiasEditError, match="the backend changed"):
        audit(**options, backend="coin", resume=True)
    assert audit(**options, resume=True).fb_score > 0


def test_what_is_no_scorer_is_refused(options):
    model = loaded(tiny_model("llama"))
    with pytest.raises(BiasEditError, match="'tossed' is not a class with methods score and noise"):
        audit(model, backend="tossed", **options)
    with pytest.raises(UsageError, match="did you mean coin"):
        audit(model, backend="coins", **options)
