from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hfbiasedit.cli import app as cli
from tests.pairs import run_two
from tests.scoring.worlds import records, save, write_prompts
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save(tmp_path_factory.mktemp("models") / "model", tiny_model("llama")))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbiasedit", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out = capsys.readouterr()
        return stop.value.code or 0, out.out, out.err

    return call


def test_json_is_one_document_and_the_rest_is_on_standard_error(run, model, tmp_path):
    status, out, err = run(model, "--limit", 10, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["dataset"]["prompts"] == 10
    assert document["dataset"]["config"] == "quick"
    assert "warning: a tiny sample" in err
    assert not list(tmp_path.iterdir())


def test_table_gate_and_output(run, model, tmp_path):
    own = write_prompts(tmp_path / "own.jsonl", records())
    status, out, err = run(
        model, "--prompts", own, "--out", "result", "--records", "jsonl", "--fail-above", "0.5"
    )
    assert status == 3
    assert "FB-Score" in out
    assert "truck driver" in out
    assert "is above the allowed 0.5" in err
    assert (tmp_path / "result" / "audit.json").is_file()
    assert (tmp_path / "result" / "records.jsonl").is_file()
    assert run(model, "--prompts", own, "--fail-above", "100")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--limit", "0"], 2),
        (["--fail-above", "nan"], 2),
        (["--fail-above", "inf"], 2),
        (["--fail-above=-1"], 2),
        (["--limit", "many"], 2),
        (["--split", "nowhere"], 2),
        (["--reference", "absent.csv"], 1),
        (["--batch-size", "-3"], 2),
        (["--records", "jsonl"], 2),
        (["--resume"], 1),
        (["--dtype", "int3"], 2),
        (["--device", "cuda:77"], 1),
        (["--device", "gpu"], 2),
        (["--config", "quik"], 2),
        (["--config", "core", "--prompts", "own.jsonl"], 2),
    ],
)
def test_bad_input_is_one_line(run, model, arguments, status):
    code, out, err = run(model, *arguments)
    assert code == status
    assert out == ""
    assert "Traceback" not in err
    if "many" not in arguments:  # the parser's own refusals show the usage
        assert err.count("\n") == 1


# An audit that cannot end before it is interrupted.
SLOW = """
import time
from hfbiasedit.audits.resumption import PartialFile
from hfbiasedit.cli.app import main
add = PartialFile.add
def add_and_rest(*given):
    add(*given)
    time.sleep(0.1)
PartialFile.add = add_and_rest
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_leaves_a_partial_file_to_resume_from(model, run, tmp_path):
    options = [model, "--batch-size", "1", "--limit", "300", "--json"]
    command = [sys.executable, "-c", SLOW, "audit", *options]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    partial = tmp_path / "hfbiasedit-audit.partial.jsonl"
    try:
        for _ in range(6000):
            if partial.exists() and partial.read_text().count("\n") > 5:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert out == ""
    assert "continue with --resume" in err
    assert "Traceback" not in err
    assert 5 < partial.read_text().count("\n") <= 300
    status, resumed, err = run(*options, "--resume")
    assert status == 0, err
    assert not partial.exists()
    fresh = run(*options)[1]
    assert {**json.loads(resumed), "seconds": 0} == {**json.loads(fresh), "seconds": 0}


def test_two_processes_are_one_audit(run, model, tmp_path):
    own = write_prompts(tmp_path / "own.jsonl", records())
    options = ("--prompts", own, "--batch-size", "4", "--json")
    alone = json.loads(run(model, *options)[1])
    command = ("-m", "hfbiasedit", "audit", model, *map(str, options), "--out", "result")
    first, second = run_two(*command, cwd=tmp_path)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert (second.out, second.err) == ("", "")
    found = json.loads(first.out)
    for key in ("seconds", "duration", "environment", "created"):
        alone.pop(key, None), found.pop(key, None)
    assert found == alone
    assert (
        json.loads((tmp_path / "result" / "audit.json").read_text())["fb_score"]
        == found["fb_score"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.jsonl", "result"]


def test_a_failure_of_two_processes_is_said_once(tmp_path):
    command = ("-m", "hfbiasedit", "audit", str(tmp_path / "none"), "--quiet")
    first, second = run_two(*command, cwd=tmp_path)
    assert (first.status, second.status) == (1, 1)
    assert first.err.startswith("error: ")
    assert first.err.count("\n") == 1
    assert (second.out, second.err) == ("", "")
