"""What `edit.json` says about the prompts that an edit learnt from."""

import pytest

from hfbiasedit.editing import record
from hfbiasedit.editing.config import EditConfig


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "full"),
        ({"audit": "core"}, "full"),
        ({"audit": "quick@1"}, "full@1"),
        ({"prompts": "own.jsonl"}, "custom"),
    ],
)
def test_prompts_to_learn_from_are_named_with_their_version(options, expected):
    assert record._learnt_from(EditConfig(**options)) == expected
