"""Commands in the Hub's documentation and examples exist, with the options they use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
import yaml

from hfbiasedit.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
FILES = ["docs/hub.md", "examples/hub/jobs.md", "examples/hub/audit-and-publish.yml"]


def commands(text):
    """(words of the command, option names) of every call of the program."""
    for line in re.findall(r"^\s*(?:run: )?hfbiasedit .*$", text, re.MULTILINE):
        words = re.split(r"\s+", line.strip().removeprefix("run: ").rstrip("'&\\ "))
        yield words[1:], [word for word in words if word.startswith("--")]


@pytest.mark.parametrize("name", FILES)
def test_every_command_exists(name):
    found = list(commands((ROOT / name).read_text()))
    assert found
    for words, options in found:
        command = typer.main.get_command(app)
        for word in words:
            found_command = hasattr(command, "get_command") and command.get_command(None, word)
            if not found_command:
                break
            command = found_command
        assert not hasattr(command, "get_command"), words
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(options) <= known, (words, set(options) - known)


def test_the_workflow_is_valid():
    workflow = yaml.safe_load((ROOT / "examples/hub/audit-and-publish.yml").read_text())
    assert set(workflow["jobs"]) == {"audit", "publish"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            if "hfbiasedit" not in step.get("run", ""):
                assert "HF_TOKEN" not in step.get("env", {})
