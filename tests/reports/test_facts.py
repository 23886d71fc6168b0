"""Facts about an edit, as the report lists them."""

from __future__ import annotations

import pytest

from hfbiasedit.reports.facts import edit_facts
from tests.reports.fixtures import documents


@pytest.mark.parametrize(
    ("threads", "said"), [(None, "0"), (1, "0, 1 thread"), (8, "0, 8 threads")]
)
def test_threads_are_named_beside_the_seed(threads, said):
    edit = documents()["edit"]
    if threads is not None:
        edit["threads"] = threads
    assert dict(edit_facts(edit))["seed"] == said
