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
    ],
)
def test_the_command_measures_in_the_same_way(change, ends):
    audit = documents()["before"]
    change(audit)
    assert audit_command(audit, "org/name").endswith(ends)
