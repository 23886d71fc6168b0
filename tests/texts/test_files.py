"""Code is read byte for byte, and what is no code is said or passed over."""

from __future__ import annotations

import gzip
import json

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts import files
from hfbiasedit.texts.anchor import load_anchor
from hfbiasedit.texts.corpus import load_corpus
from hfbiasedit.texts.files import read_documents

TEXT = "def f(x):\r\n    return x\r\n\rlast = 'é'\n"
LOADERS = [load_anchor, load_corpus]


@pytest.mark.parametrize("load", LOADERS)
def test_a_file_a_folder_and_lines_of_json_give_the_same_text(tmp_path, load):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "a.py").write_bytes(TEXT.encode())
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": TEXT}))
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(rows.read_bytes()))
    marked = tmp_path / "marked.py"
    marked.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    for source in (folder, folder / "a.py", rows, packed, marked):
        assert load(source).texts == (TEXT,)


@pytest.mark.parametrize("load", LOADERS)
def test_what_is_no_code_of_the_project_is_passed_over(tmp_path, load, capsys):
    for name in (".git/HEAD", ".env", "src/__pycache__/a.py", "web/node_modules/x.js", "src/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"name = {name!r}\n")
    assert load(tmp_path).texts == ("name = 'src/a.py'\n",)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("load", LOADERS)
def test_files_that_are_no_text_are_named(tmp_path, load, capsys):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.bin").write_bytes(b"valid utf-8 with a \0 in it")
    (tmp_path / "c.py").write_bytes("x = 'é'\n".encode("latin-1"))
    assert load(tmp_path).texts == ("x = 1\n",)
    said = " ".join(capsys.readouterr().err.split())
    assert "b.bin, c.py in" in said
    assert "left out: binary, or not in UTF-8" in said
    for name in ("b.bin", "c.py"):
        with pytest.raises(BiasEditError, match=f"{name} is no text in UTF-8"):
            load(tmp_path / name)


def test_a_folder_with_more_files_than_are_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "MOST_DOCUMENTS", 2)
    for name in "abc":
        (tmp_path / f"{name}.py").write_text(f"{name}\n")
    assert read_documents(tmp_path, ()) == (["a.py", "b.py"], ["a\n", "b\n"])
    assert "holds 3 files; the first 2 are read" in " ".join(capsys.readouterr().err.split())
