import os
from pathlib import Path

import pytest

from hfbiasedit.hub.source import ModelSource
from hfbiasedit.models.provenance import weights_identity


def model(folder: Path) -> ModelSource:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(64)))
    (folder / "README.md").write_text("about")
    return ModelSource(str(folder), folder)


def test_a_commit_is_a_name(tmp_path):
    source = ModelSource("acme/coder@main", tmp_path, "main", "a" * 40)
    assert weights_identity(source) == f"acme/coder@{'a' * 40}"


def test_a_change_that_leaves_size_and_time_alone_is_seen(tmp_path):
    source = model(tmp_path / "a")
    file = source.path / "model.safetensors"
    before, times = weights_identity(source), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(bytes([*range(63), 0]))
    os.utime(file, ns=times)
    assert file.stat().st_mtime_ns == times[1]
    assert weights_identity(source) != before


def test_copies_are_the_same_and_other_files_do_not_count(tmp_path):
    one, other = model(tmp_path / "a"), model(tmp_path / "b")
    (other.path / "README.md").write_text("something else")
    os.utime(other.path / "model.safetensors", (1, 1))
    assert weights_identity(one) == weights_identity(other)
    (other.path / "config.json").write_text('{"a": 1}')
    assert weights_identity(one) != weights_identity(other)


@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "special_tokens_map.json", "added_tokens.json", "qwen.tiktoken",
     "tekken.json", "tokenizer.json"],
)  # fmt: skip
def test_what_decides_the_tokens_counts(tmp_path, name):
    source = model(tmp_path / "a")
    before = weights_identity(source)
    (source.path / name).write_text("{}")
    with_it = weights_identity(source)
    (source.path / name).write_text("{ }")
    assert len({before, with_it, weights_identity(source)}) == 3


def test_directories_are_no_content(tmp_path):
    source = model(tmp_path / "a")
    before = weights_identity(source)
    (source.path / "tokenizer_old").mkdir()
    (source.path / "tokenizer_old" / "tokenizer.json").write_text("{}")
    assert weights_identity(source) == before


def test_documents_hold_digests_that_stay(tmp_path):
    digest = "fbf88dfcc6a7987f50232e3f2e7f1f76c173eab033668e42f4f1a3db678bd349"
    assert weights_identity(model(tmp_path / "a")) == f"sha256:{digest}"
