"""What `audit` prints, on terminals of any width."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hfbiasedit.audits.report import AuditReport
from hfbiasedit.documents import formatting as text
from tests.reports.fixtures import World, audit_document


@pytest.fixture(scope="module")
def document():
    world = World(12)
    return audit_document(world, world.before)


@pytest.mark.parametrize("width", [40, 60, 120])
def test_no_number_is_cut(document, width):
    shown = AuditReport.table(SimpleNamespace(document=document), width)
    assert "…" not in shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    for row in (*document["by_template"], *document["by_group"]):
        assert any(text.interval(row["ci95"]) in line for line in lines)
    assert ("FB-Score: " in shown) == (width < 120)  # below each other, or in columns
