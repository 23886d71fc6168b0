"""The section about an audit: its command gives the figure again."""

from __future__ import annotations

import re
import shlex

import pytest

from hfbiasedit.cards.audit_section import render_section
from tests.reports import fixtures


def command(section):
    (line,) = re.findall(r"`(hfbiasedit audit [^`]+)`", section)
    return shlex.split(line)


@pytest.fixture
def audit():
    return fixtures.documents(12)["before"]


@pytest.mark.parametrize("named", [None, "acme/tiny-coder", "Acme/Tiny-Coder"])
def test_the_command_names_commit_and_dtype(audit, named):
    audit["model"]["dtype"] = "float16"
    words = command(render_section(audit, named))
    assert words[2] == (named or "acme/tiny-coder")
    assert words[words.index("--revision") + 1] == fixtures.COMMIT
    assert words[words.index("--dtype") + 1] == "float16"


def test_another_repository_has_not_that_commit(audit):
    words = command(render_section(audit, "acme/copy"))
    assert words[2] == "acme/copy"
    assert "--revision" not in words


def test_a_local_model_has_no_commit(audit):
    audit["model"].update(id="/home/me/model", revision=None)
    assert "--revision" not in command(render_section(audit))
