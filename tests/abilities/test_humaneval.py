import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.problems.humaneval import (
    judge_samples,
    measure_humaneval,
    pass_at_k,
    summarise,
)
from hfbiasedit.abilities.problems.reading import (
    Sample,
    canonical_samples,
    load_problems,
    load_samples,
)
from hfbiasedit.errors import BiasEditError
from hfbiasedit.isolation.judge import VERDICTS, Judgement

OWN = Path(__file__).parent / "problems.jsonl"
CONFIG = AbilityConfig(tasks=("humaneval",), allow_code_execution=True)


def _write(path, *rows):
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(n):
    for correct, k in itertools.product(range(n + 1), range(1, n + 1)):
        outcomes = [True] * correct + [False] * (n - correct)
        draws = list(itertools.combinations(outcomes, k))
        assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_all_reference_solutions_pass_and_all_wrong_ones_fail():
    problems = load_problems(OWN)
    assert len(problems.problems) == 12
    judged = judge_samples(problems.problems, canonical_samples(problems.problems), CONFIG)
    assert [(j.verdict, j.detail) for j in judged] == [("passed", "")] * 12
    rows = [json.loads(line) for line in OWN.read_text().splitlines()]
    wrong = [Sample(row["task_id"], row["wrong_solution"]) for row in rows]
    judged = judge_samples(problems.problems, wrong, CONFIG)
    assert {j.verdict for j in judged} == {"failed"}, judged


def test_samples_are_judged_and_summed_up():
    problems = load_problems(OWN, limit=2)
    right, wrong = canonical_samples(problems.problems)[0], Sample("Own/0", "    return 1/0\n")
    other = Sample("Own/1", "    return {}[0]\n")
    document, judgements = measure_humaneval(problems, CONFIG, samples=[right, wrong, other, other])
    assert [j.verdict for j in judgements] == ["passed", "failed", "failed", "failed"]
    part = document["before"]
    assert part["pass@1"] == pytest.approx(0.25)
    assert part["verdicts"] == dict.fromkeys(VERDICTS, 0) | {"passed": 1, "failed": 3}
    assert document["unjudged"] == []
    assert part["n"] == 2
    assert part["samples"] == 4
    assert "pass@10" not in part
    assert document["problems"]["count"] == 2


def _problem(task, test, solution=None):
    row = {"task_id": task, "prompt": "def f(x):\n", "entry_point": "f", "test": test}
    return row if solution is None else row | {"canonical_solution": solution}


RIGHT, WRONG = "    return x + 1\n", "    return x\n"
GOOD = "def check(c):\n    assert c(1) == 2\n"
DOUBTFUL = [
    _problem("no check", "def check(c):\n    c(1)\n", RIGHT),
    _problem("all is caught", "try:\n    assert f(1) == 2\nexcept BaseException:\n    pass\n"),
    _problem("misspelt", "def chek(c):\n    assert c(1) == 2\n", RIGHT),
    _problem("numpy", "import numpy\n" + GOOD, RIGHT),
    _problem("numpy without a solution", "import numpy\n" + GOOD),
    _problem("a wrong test", "def check(c):\n    assert c(1) == 3\n", RIGHT),
]


@pytest.mark.parametrize("completion", [RIGHT, WRONG])
def test_problems_that_cannot_tell_right_from_wrong_do_not_count(tmp_path, capsys, completion):
    rows = [_problem("good", GOOD, RIGHT), *DOUBTFUL, _problem("good too", GOOD)]
    problems = load_problems(_write(tmp_path / "p.jsonl", *rows))
    samples = [Sample(row["task_id"], completion) for row in rows]
    document, _ = measure_humaneval(problems, CONFIG, samples=samples)
    reasons = {one["task_id"]: one["reason"] for one in document["unjudged"]}
    assert list(reasons) == [row["task_id"] for row in DOUBTFUL]
    assert "nonsense" in reasons["all is caught"]
    assert "never call" in reasons["misspelt"]
    assert "numpy" in reasons["numpy"]
    assert "own solution does not pass: failed" in reasons["a wrong test"]
    part = document["before"]
    assert (part["n"], part["samples"]) == (2, 2)
    assert part["pass@1"] == (completion == RIGHT)
    assert [one["task_id"] for one in part["results"]] == ["good", "good too"]
    assert "6 of 8 problems cannot be judged" in capsys.readouterr().err.replace("\n", " ")


def test_no_score_where_nothing_can_be_judged(tmp_path):
    problems = load_problems(_write(tmp_path / "p.jsonl", _problem("misspelt", "def chek(c): 1\n")))
    with pytest.raises(BiasEditError, match="1 of 1 problems cannot be judged.*never call"):
        measure_humaneval(problems, CONFIG, samples=[Sample("misspelt", RIGHT)])


def test_a_completion_that_cannot_be_judged_is_said_and_not_passed(tmp_path, capsys):
    problems = load_problems(_write(tmp_path / "p.jsonl", _problem("good", GOOD, RIGHT)))
    own = "    class Own: pass\n    return Own()\n"
    document, _ = measure_humaneval(problems, CONFIG, samples=[Sample("good", own)])
    assert document["before"]["verdicts"]["unjudged"] == 1
    assert document["before"]["pass@1"] == 0
    assert "1 completions could not be judged" in capsys.readouterr().err.replace("\n", " ")


def test_intervals_hold_the_estimate_and_k_above_n_is_left_out():
    samples = [Sample(f"t{i}", "x") for i in range(30) for _ in range(3)]
    drawn = np.random.default_rng(0).random(90) < 0.4
    judgements = [Judgement("passed" if good else "failed") for good in drawn]
    part = summarise(samples, judgements, AbilityConfig(k=(1, 2, 3, 4)))
    assert set(part["intervals"]) == {"pass@1", "pass@2", "pass@3"}
    for name, (low, high) in part["intervals"].items():
        assert 0 <= low < part[name] < high <= 1
    assert part["pass@1"] < part["pass@2"] < part["pass@3"]
    assert part["pass@1"] == pytest.approx(np.mean([j.verdict == "passed" for j in judgements]))


def test_problems_are_read_compressed_and_limited(tmp_path):
    packed = tmp_path / "own.jsonl.gz"
    packed.write_bytes(gzip.compress(OWN.read_bytes()))
    plain, same = load_problems(OWN), load_problems(packed)
    assert same.problems == plain.problems
    assert same.sha256 == plain.sha256
    part = load_problems(packed, limit=3)
    assert part.name == "own.jsonl.gz, first 3"
    assert part.sha256 != plain.sha256


ROW = {"task_id": "a", "prompt": "def f():\n", "entry_point": "f", "test": "assert f()"}
MALFORMED = {
    "not JSON": ("{\n", "line 2: not JSON"),
    "no object": ("[1]\n", "line 2: not a JSON object"),
    "a field missing": ({"task_id": "b"}, "line 2: no field 'prompt'"),
    "a field of another type": ({**ROW, "test": 1}, "line 2: 'test' is int, not text"),
    "no function name": ({**ROW, "task_id": "b", "entry_point": "f()"}, "no name of a function"),
    "a test with a syntax error": ({**ROW, "task_id": "b", "test": "def"}, "line 2: the test is not Python"),
    "the same task twice": (ROW, "line 2: task_id 'a' occurs twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_problems_are_named_with_line_and_reason(tmp_path, name):
    row, message = MALFORMED[name]
    with pytest.raises(BiasEditError, match=message.replace("(", r"\(")):
        load_problems(_write(tmp_path / "problems.jsonl", ROW, row))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no completions"),
        (["nonsense\n"], "line 1: not JSON"),
        ([{"task_id": "zzz", "completion": ""}], "line 1: task_id 'zzz' is not among the problems"),
        ([{"task_id": "Own/0"}], "line 1: no field 'completion'"),
        ([{"task_id": "Own/0", "completion": ["x"]}], "'completion' is list, not text"),
    ],
)
def test_malformed_samples_are_named_with_line_and_reason(tmp_path, rows, message):
    with pytest.raises(BiasEditError, match=message):
        load_samples(_write(tmp_path / "samples.jsonl", *rows), load_problems(OWN))


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(BiasEditError, match="cannot read .*nowhere"):
        load_problems(tmp_path / "nowhere.jsonl")
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(OWN.read_bytes())[:100])
    with pytest.raises(BiasEditError, match="cannot read .*bad"):
        load_problems(tmp_path / "bad.jsonl.gz")
    with pytest.raises(BiasEditError, match="holds no problems"):
        load_problems(_write(tmp_path / "empty.jsonl"))
