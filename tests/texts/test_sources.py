import hashlib
import json

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.anchor import load_anchor
from hfbiasedit.texts.corpus import load_corpus
from hfbiasedit.texts.sources import read_texts, text_of, texts_digest


def test_the_first_field_that_holds_text_counts():
    row = {"content": 3, "code": "c", "text": "t"}
    assert text_of(row, "row 1", ("content", "text", "code")) == "t"
    assert text_of(row, "row 1", ("code", "text")) == "c"
    for nothing in ({"content": 3}, ["text"], None):
        with pytest.raises(BiasEditError, match="^row 1: no text in the field content or x$"):
            text_of(nothing, "row 1", ("content", "x"))


def test_the_digest_tells_where_a_document_ends():
    assert texts_digest(["ab", "c"]) == hashlib.sha256(b"ab\0c\0").hexdigest()
    assert texts_digest(["ab", "c"]) != texts_digest(["a", "bc"])
    assert texts_digest(["\udc80"]) == hashlib.sha256(b"\xed\xb2\x80\0").hexdigest()


def test_lines_are_named_when_they_are_wrong(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\u2028b"}\n\n{"text": "c"}\n', encoding="utf-8")
    assert read_texts(path, ("text",)) == ["a\u2028b", "c"]
    path.write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(BiasEditError, match="line 2: not JSON"):
        read_texts(path, ("text",))


def test_anchor_and_corpus_prefer_fields_of_their_own(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "prose", "content": "code"}))
    assert load_anchor(path).texts == ("prose",)
    assert load_corpus(path).texts == ("code",)
    path.write_text(json.dumps({"body": "?"}))
    for load in (load_anchor, load_corpus):
        with pytest.raises(BiasEditError, match="line 1: no text in the field"):
            load(path)
