"""The GitHub Action and the pre-commit hooks: their steps, run in a shell as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.publishing.runs import make_run
from tests.tiny import save_checkpoint

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "examples" / "github-action" / "action.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not Path(sys.executable).with_name("hfbiasedit").exists(),
    reason="needs bash and the console script",
)


def environment(**more):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def step(name, folder, **inputs):
    """Run a step of the action with its inputs in the environment, as the runner does."""
    found = next(step for step in ACTION["runs"]["steps"] if step["name"] == name)
    given = {key: str(spec.get("default", "")) for key, spec in ACTION["inputs"].items()} | inputs
    values = {}
    for variable, expression in found["env"].items():
        key = expression.removeprefix("${{ inputs.").removesuffix(" }}")
        values[variable] = given[key]
    files = {
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
        cwd=folder,
        env=environment(**values, **files),
        capture_output=True,
        text=True,
    )


def test_the_audit_step_writes_report_score_and_summary_and_is_a_gate(tmp_path):
    save_checkpoint(tmp_path / "model")
    inputs = {"model": "model", "arguments": "--limit 6"}
    done = step("Audit", tmp_path, **inputs)
    assert done.returncode == 0, done.stderr
    name, _, score = (tmp_path / "output").read_text().strip().partition("=")
    assert name == "fb-score"
    assert score in (tmp_path / "summary").read_text()
    assert (tmp_path / "hfbiasedit-audit" / "report.html").is_file()
    (tmp_path / "output").unlink()
    gate = step("Audit", tmp_path, **inputs, out="again", **{"fail-above": "0"})
    assert gate.returncode == 3
    assert (tmp_path / "output").read_text().startswith("fb-score=")


def test_nothing_is_installed_unasked(tmp_path):
    assert step("Install", tmp_path).returncode == 0


def hook(name, *files):
    entry = next(item for item in HOOKS if item["id"] == name)["entry"]
    import shlex

    words = [*shlex.split(entry), *map(str, files)]
    return subprocess.run(words, env=environment(), capture_output=True, text=True)


def test_hooks_pass_what_is_right_and_stop_what_is_not(tmp_path):
    recipes = sorted((ROOT / "examples" / "recipes").glob("*.yaml"))[:1]
    assert hook("hfbiasedit-recipe", *recipes).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: x\nedit: {granularty: row}\n")
    refused = hook("hfbiasedit-recipe", *recipes, wrong)
    assert refused.returncode == 1
    assert "did you mean granularity" in refused.stderr
    patch = make_run(tmp_path / "run") / "patch.safetensors"
    assert hook("hfbiasedit-patch", patch).returncode == 0
    patch.write_bytes(patch.read_bytes()[:-1])
    assert hook("hfbiasedit-patch", patch).returncode == 1
