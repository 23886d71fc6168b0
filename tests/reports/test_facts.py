"""Facts about an edit, as the report lists them."""

from __future__ import annotations

import pytest

from hfbiasedit.reports.facts import audit_command, edit_facts
from tests.reports.fixtures import documents


@pytest.mark.parametrize(
    ("threads", "said"), [(None, "0"), (1, "0, 1 thread"), (8, "0, 8 threads")]
)
def test_threads_are_named_beside_the_seed(threads, said):
    edit = documents()["edit"]
    if threads is not None:
        edit["threads"] = threads
    assert dict(edit_facts(edit))["seed"] == said


def test_noise_that_was_taken_off_stands_beside_the_divergence():
    edit = documents()["edit"]
    name = "KL to the original on held-back general code, mean"
    assert dict(edit_facts(edit))[name] == "0.00213"
    edit["kl"]["noise"] = 0.0018
    assert dict(edit_facts(edit))[name] == "0.00213 (and 0.00180 of arithmetic noise)"


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (lambda a: None, "--config quick --split test"),
        (lambda a: a["dataset"].update(config="quick@1"), "--config quick@1 --split test"),
        (lambda a: a["dataset"].update(config="custom"), "--prompts prompts.jsonl --split test"),
        (
            lambda a: a["dataset"].update(limit=64, chosen_professions=True),
            "--split test --professions professions.txt --limit 64",
        ),
        (lambda a: a["bootstrap"].update(seed=7), "--split test --seed 7"),
        (lambda a: a["model"].update(quantized={"method": "int4"}), "--quantize int4"),
        (lambda a: a["model"].update(gguf={"file": "q4 m.gguf"}), "--gguf 'q4 m.gguf'"),
        (lambda a: a.update(chat={"request": "", "opening": ""}), "--chat"),
        (
            lambda a: a.update(
                backend={
                    "name": "lm-eval",
                    "model": "local-completions",
                    "arguments": {"num_concurrent": 4},
                    "missing": [],
                }
            ),
            "--backend lm-eval --backend-args local-completions,num_concurrent=4",
        ),
        (lambda a: a.update(backend={"name": "own", "missing": []}), "--backend own"),
    ],
)
def test_the_command_measures_in_the_same_way(change, ends):
    audit = documents()["before"]
    change(audit)
    assert audit_command(audit, "org/name").endswith(f"{ends} --dtype {audit['model']['dtype']}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_command_names_the_dtype_that_was_measured(dtype):
    audit = documents()["before"]
    audit["model"]["dtype"] = dtype
    assert audit_command(audit, "org/name").endswith(f"--split test --dtype {dtype}")


def test_a_dtype_that_only_a_server_knows_is_not_asked_for():
    audit = documents()["before"]
    audit["model"]["dtype"] = "unknown"
    assert "--dtype" not in audit_command(audit, "org/name")


def test_a_commit_is_named_where_it_is_of_the_model():
    audit = documents()["before"]
    assert "--revision" not in audit_command(audit, "org/name")
    assert audit_command(audit, "org/name", "a" * 40).endswith(f" --revision {'a' * 40}")
