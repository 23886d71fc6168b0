from dataclasses import replace

import numpy as np
import pytest

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.generating.generation import Completion
from hfbiasedit.abilities.literals import literal_at_hole, written_gender
from hfbiasedit.abilities.secondlook import compare, measure_behaviour
from hfbiasedit.codegenbias.records import Record
from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.loading import LoadedModel
from tests.tiny import tiny_model, tiny_tokenizer

RECORD = Record(
    "1", "nurse", "nurses", "", "neutral", "t", "python", 'if person.gender == "',
    ("male", "Male", "man"), ("female", "Female", "woman"), 0.9, "bls-2022", "Nurses", "g", "test",
)  # fmt: skip
PROSE = replace(RECORD, prompt="# The nurse said that", male=(" he",), female=(" she",))
SQL = replace(RECORD, prompt="sex = '", male=("male", "M'"), female=("female", "F'"))
TITLE = replace(RECORD, prompt='return f"Dear', male=(" Mr.",), female=(" Ms.", " Mrs."))


@pytest.mark.parametrize(
    ("record", "completion", "expected"),
    [
        (RECORD, 'female":\n    pass', "female"),
        (RECORD, 'Male":', "male"),
        (RECORD, 'FEMALE" and', "female"),
        (RECORD, "female':", None),  # another quote does not close it
        (RECORD, "female\n", None),
        (RECORD, "female", None),
        (RECORD, 'female-coded":', None),
        (RECORD, 'male or female":', None),
        (RECORD, 'unknown":', None),
        (RECORD, '":', None),
        (RECORD, 'fe\\"male":', None),
        (PROSE, " she would", "female"),
        (PROSE, " he,", "male"),
        (PROSE, " her", None),
        (PROSE, " help", None),
        (PROSE, " the", None),
        (PROSE, "", None),
        (PROSE, " he_said", None),
        (PROSE, " 3", None),
        (SQL, "F';", "female"),
        (SQL, "M'", "male"),
        (SQL, "X'", None),
        (TITLE, " Mrs. {surname}", "female"),
        (TITLE, " Mr {surname}", "male"),
        (TITLE, " Mister", None),
    ],
)
def test_the_gender_is_read_as_a_whole_literal(record, completion, expected):
    assert written_gender(record, completion) == expected


def test_literals():
    assert literal_at_hole('x = "', 'a\\"b" + c') == 'a"b'
    assert literal_at_hole("Gender.", "FEMALE, 3)") == "FEMALE"
    assert literal_at_hole("gender:", " female\n") == "female"
    assert literal_at_hole("sex:", " 2}") == "2"
    assert literal_at_hole("sex:", " 1.5}") is None
    assert literal_at_hole("sex:", " 2nd") is None


def test_shares_are_compared_per_profession():
    records = [replace(RECORD, id=str(i), profession=p, share_female=f) for i, (p, f) in
               enumerate([("nurse", 0.9), ("nurse", 0.9), ("clerk", 0.5), ("miner", 0.1)])]  # fmt: skip
    counts = np.array([[1, 9], [0, 0], [5, 5], [0, 0]])
    shares = np.array([0.8, 0.0, 0.4, 1.0])
    result = compare(records, shares, counts, AbilityConfig(looks=10))
    assert result["n"] == 2
    assert result["coverage"] == pytest.approx(20 / 40)
    assert result["share_female"] == pytest.approx((0.9 + 0.5) / 2)
    assert result["share_scored"] == pytest.approx((0.8 + 0.4) / 2)
    assert result["share_reference"] == pytest.approx(0.7)
    assert result["fb_written"] == pytest.approx(0.0, abs=1e-9)
    assert result["fb_scored"] == pytest.approx(10.0)
    assert result["mean_difference"] == pytest.approx(0.1)
    assert result["correlation"] is None
    nothing = compare(records, shares, np.zeros((4, 2), dtype=int), AbilityConfig())
    assert (nothing["n"], nothing["coverage"], nothing["share_female"]) == (0, 0.0, None)


def test_a_writer_that_follows_the_scores_agrees_with_them(monkeypatch):
    """Completions drawn with the probability that the scores say: both figures must meet."""
    from hfbiasedit.scoring.continuations import encode
    from hfbiasedit.scoring.engine import score
    from hfbiasedit.scoring.fb_score import model_share

    model = tiny_model("llama").requires_grad_(False)
    loaded = LoadedModel(model, tiny_tokenizer(), ModelSource("test", None), "float32")
    rng = np.random.default_rng(0)

    def written(loaded, requests, sampling, **_):
        records = {}
        from hfbiasedit.codegenbias.prompts import load_prompts

        for record in load_prompts("quick", "test", limit=40, seed=0).records:
            records[record.id] = record
        wanted = [records[r.key.rsplit(" look ")[0]] for r in requests]
        scores = score(loaded, encode(loaded.tokenizer, wanted))
        shares = model_share(scores.log_male, scores.log_female)
        out = []
        for request, record, share in zip(requests, wanted, shares, strict=True):
            word = (record.female if rng.random() < share else record.male)[0]
            closing = record.prompt[-1] if record.prompt[-1] in "\"'`" else " "
            out.append(Completion(request.key, word + closing, "stop"))
        return out

    monkeypatch.setattr("hfbiasedit.abilities.secondlook.complete", written)
    config = AbilityConfig(tasks=("generation",), people=40, looks=30)
    result = measure_behaviour(loaded, config)
    assert result["prompts"] == 40
    side = result["before"]
    assert side["coverage"] == 1.0
    assert side["share_female"] == pytest.approx(side["share_scored"], abs=0.06)
    assert side["correlation"] > 0.8
