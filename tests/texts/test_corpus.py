import json

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.texts.anchor import load_anchor
from hfbiasedit.texts.corpus import Corpus, load_corpus, refuse_overlap

CODE = "".join(f"value_{n} = compute_something({n}, scale=2)\n" for n in range(30))


def test_the_corpus_that_ships_is_disjoint_from_the_default_anchor():
    corpus = load_corpus()
    assert len(corpus.texts) >= 15
    assert corpus.bytes > 25_000
    anchor = load_anchor(None)
    refuse_overlap(corpus, anchor.name, anchor.texts)


@pytest.mark.parametrize(
    "seen",
    [
        CODE,
        CODE.replace("\n", "\r\n"),
        CODE.replace("value", "\tVALUE"),
        "\n\n".join(CODE.split("\n")[8:16]),
    ],
)
def test_code_of_the_anchor_is_refused_whatever_its_layout(seen):
    corpus = Corpus("mine", ("fresh.py", "seen.py"), ("print('something else')\n", CODE))
    with pytest.raises(BiasEditError, match=r"seen\.py of mine repeats code of the anchor theirs"):
        refuse_overlap(corpus, "theirs", [seen])


def test_a_shared_line_is_no_overlap():
    corpus = Corpus("mine", ("a",), (CODE + "import numpy as np\nfrom pathlib import Path\n",))
    refuse_overlap(
        corpus, "theirs", ["import numpy as np\nfrom pathlib import Path\nprint(Path('x'))\n"]
    )


def test_files_folders_and_lines_of_json(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.py").write_text("b = 2\n")
    (tmp_path / "sub" / "a.py").write_text("a = 1\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "empty.py").write_text("\n")
    assert load_corpus(text=tmp_path).texts == ("b = 2\n", "a = 1\n")
    assert load_corpus(text=tmp_path / "b.py").names == ("b.py",)
    lines = tmp_path / "text.jsonl"
    lines.write_text(json.dumps({"content": "x"}) + "\n\n" + json.dumps({"text": "y"}) + "\n")
    assert load_corpus(text=lines).texts == ("x", "y")
    assert load_corpus(text=lines, limit=1).texts == ("x",)
    lines.write_text('{"content": "x"}\n{"body": "y"}\n')
    with pytest.raises(BiasEditError, match="line 2: no text"):
        load_corpus(text=lines)


def test_what_cannot_be_measured_on_is_named(tmp_path):
    with pytest.raises(BiasEditError, match="does not exist"):
        load_corpus(text=tmp_path / "nowhere")
    with pytest.raises(BiasEditError, match="holds no files of code"):
        load_corpus(text=tmp_path)
    (tmp_path / "a.py").write_text(" \n")
    with pytest.raises(BiasEditError, match="holds no text"):
        load_corpus(text=tmp_path)


def test_a_dataset_of_rows(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"code": f"x = {n}\n", "other": 1} for n in range(5)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = load_corpus(dataset=str(folder), field="code", documents=3)
    assert corpus.texts == ("x = 0\n", "x = 1\n", "x = 2\n")
    with pytest.raises(BiasEditError, match="field body"):
        load_corpus(dataset=str(folder), field="body")
    with pytest.raises(BiasEditError, match="cannot load the dataset"):
        load_corpus(dataset="somebody/nothing")
