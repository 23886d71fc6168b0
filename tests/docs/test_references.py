"""The generated pages are what the code says; what citation and change log state is true."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

import hfbiasedit
from hfbiasedit.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def references():
    spec = importlib.util.spec_from_file_location("references", ROOT / "docs" / "references.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "api.md"])
def test_the_page_is_current(references, page):
    written = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written == references.PAGES[page](), "run: python docs/references.py"


def test_the_pages_name_every_command_and_every_public_name(references):
    commands, api = references.commands(), references.api()
    assert all(f"## hfbiasedit {name}" in commands for name in COMMANDS)
    assert "`--max-kl" in commands
    assert "## hfbiasedit patch export" in commands
    assert all(f"## {name}\n" in api for name in hfbiasedit.__all__ if name[0] != "_")
    assert "### Patch.applied" in api


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == hfbiasedit.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_the_change_log_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {hfbiasedit.__version__}" in text
