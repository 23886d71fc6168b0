"""JSON lines: what is refused, and that the line is named."""

import json

import pytest

from hfbiasedit.codegenbias.reading.row_files import read_rows
from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.jsonl import read_objects


@pytest.mark.parametrize("read", [read_objects, read_rows])
def test_half_a_character_is_refused_by_its_line(tmp_path, read):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine \\ud83d\\ude00"}\n{"text": "broken \\ud800"}\n')
    with pytest.raises(BiasEditError, match="line 2 holds half of a character"):
        list(read(path))


def test_whole_characters_beyond_the_first_plane_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "\U0001f600"}) + "\n")
    assert [row for _, row in read_objects(path)] == [{"text": "\U0001f600"}]
