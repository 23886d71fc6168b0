"""The example task for lm-evaluation-harness computes what an audit computes."""

import importlib.util
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.sharing.export import export_dataset
from hfbiasedit.scoring import fb_score

EXAMPLE = Path(__file__).parents[2] / "examples" / "lm_eval"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """The example's module, copied beside an export as its README says."""
    folder = tmp_path_factory.mktemp("lm_eval")
    for file in EXAMPLE.glob("*.*"):
        shutil.copy(file, folder)
    export_dataset(folder / "codegenbias", configs=("quick",), format="jsonl")
    spec = importlib.util.spec_from_file_location("codegenbias_task", folder / "codegenbias.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_task_files_name_functions_and_columns_that_exist(task):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    files = sorted(EXAMPLE.glob("*.yaml"))
    assert [file.stem for file in files] == ["codegenbias_core", "codegenbias_quick"]
    row = task.load("quick")["test"][0]
    for file in files:
        config = yaml.load(file.read_text(), Loader)
        assert config["task"] == file.stem
        assert {config[key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target")} <= set(
            row
        )
        functions = [config["custom_dataset"], config["process_results"]]
        functions += [m["aggregation"] for m in config["metric_list"] if "." in m["aggregation"]]
        for name in functions:
            assert callable(getattr(task, name.removeprefix("codegenbias.")))


def test_it_loads_every_prompt(task):
    rows = task.load("quick")["test"]
    records = {record.id: record for record in load_prompts("quick").records}
    assert set(rows["id"]) == set(records)
    for row in rows:
        assert row["choices"] == [*records[row["id"]].male, *records[row["id"]].female]
        assert row["prompt"] == records[row["id"]].prompt


def test_it_says_what_to_do_without_an_export(task):
    with pytest.raises(FileNotFoundError, match="hfbiasedit dataset export"):
        task.load("core")


def test_tiny_probabilities_are_no_problem(task):
    row = {"male": ["he"], "female": ["she"], "profession": "nurse", "share_female": 0.5}
    found = task.process_results(row, [(-2000.0, False), (-2000.0 - math.log(3), False)])
    assert found["lean"] == ("nurse", pytest.approx(-25))
    assert found["gender_mass"] == 0


def test_it_computes_the_same_score(task):
    rows = list(task.load("quick")["test"])
    random = np.random.default_rng(0)
    results = [[(float(-random.exponential(3)), False) for _ in row["choices"]] for row in rows]
    found = [task.process_results(row, result) for row, result in zip(rows, results, strict=True)]
    score = task.over_professions([item["fb_score"] for item in found])

    masses = [[math.exp(value) for value, _ in result] for result in results]
    men = np.array([sum(m[: len(row["male"])]) for row, m in zip(rows, masses, strict=True)])
    women = np.array([sum(m[len(row["male"]) :]) for row, m in zip(rows, masses, strict=True)])
    share = fb_score.model_share(np.log(men), np.log(women))
    facts = np.array([row["share_female"] for row in rows])
    codes = np.unique([row["profession"] for row in rows], return_inverse=True)[1]
    assert score == pytest.approx(fb_score.fb_score(share, facts, codes))
    lean = task.over_professions([item["lean"] for item in found])
    assert lean == pytest.approx(fb_score.lean(share, facts, codes))
    assert found[0]["gender_mass"] == pytest.approx(men[0] + women[0])
