from __future__ import annotations

import math

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.reports.environment import code, fenced, markdown, render


def write(tmp_path, text):
    path = tmp_path / "own.jinja"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ missing }}", "'missing' is undefined"),
        ("{{ nothing }}", "empty"),
        ("{{ nan }}", "not finite"),
        ("{% if %}", "line 1"),
        ("{{ word|score }}", "own.jinja"),
    ],
)
def test_a_template_cannot_print_what_is_not_there(tmp_path, template, reason):
    context = {"nothing": None, "nan": math.nan, "word": "x"}
    with pytest.raises(BiasEditError, match=reason):
        render(write(tmp_path, template), "", context, html=False)


def test_a_missing_template_is_named(tmp_path):
    with pytest.raises(BiasEditError, match="no template"):
        render(tmp_path / "nowhere.jinja", "", {}, html=False)


def test_own_templates_may_use_the_parts_that_ship(tmp_path):
    path = write(
        tmp_path, '{% import "card_parts.md.jinja" as parts %}{{ parts.limits("parity") }}'
    )
    assert "Parity is a goal" in render(path, "", {}, html=False)


def test_html_is_escaped(tmp_path):
    path = write(tmp_path, '<p title="{{ name }}">{{ name }}</p>')
    shown = render(path, "", {"name": '"><script>x</script>'}, html=True)
    assert "<script>" not in shown
    assert shown.count('"') == 2


def test_markdown_from_data_is_inert():
    assert markdown("a|b\n# c <b> [x](y) `z` *w*") == (r"a\|b \# c \<b\> \[x\](y) \`z\` \*w\*")
    assert code("a`b|c\nd") == r"`a'b\|c d`"
    assert "```" not in fenced("x\n```\nrm -rf ~")
