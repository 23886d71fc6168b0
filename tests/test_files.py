import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbiasedit import files, outputs
from hfbiasedit.errors import BiasEditError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(JSON)
def test_canonical_json_round_trips(value):
    assert json.loads(files.canonical_json(value)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_ignores_the_order_of_keys(value):
    assert files.canonical_json(value) == files.canonical_json(dict(reversed(value.items())))


def test_canonical_json_refuses_nan():
    with pytest.raises(ValueError):
        files.canonical_json(float("nan"))


def test_write_bytes_replaces_the_content_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "a.bin"
    files.write_bytes(path, b"one")
    files.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.bin"]


def test_write_json_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"fine": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"bad": float("inf")})
    assert files.read_json(path) == {"fine": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_written_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
        with outputs.output_directory(tmp_path / "d") as folder:
            (folder / "b").write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750


@pytest.mark.parametrize("content", [None, "{", ""])
def test_read_json_names_the_file(tmp_path, content):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BiasEditError, match="report.json"):
        files.read_json(path)


def test_output_directory_appears_only_when_complete(tmp_path):
    path = tmp_path / "out"
    with outputs.output_directory(path) as folder:
        (folder / "a").write_text("x")
        assert not path.exists()
    assert (path / "a").read_text() == "x"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_output_directory_leaves_nothing_after_a_failure(tmp_path, error):
    with pytest.raises(error), outputs.output_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("x")
        raise error
    assert os.listdir(tmp_path) == []


def test_output_directory_refuses_a_directory_with_content(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with (
        pytest.raises(BiasEditError, match="not empty"),
        outputs.output_directory(tmp_path / "out"),
    ):
        raise AssertionError("not reached")
    assert (tmp_path / "out" / "precious").read_text() == "x"


def test_output_directory_replaces_when_asked_and_only_at_the_end(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    with pytest.raises(RuntimeError), outputs.output_directory(out, replace=True):
        raise RuntimeError
    assert os.listdir(out) == ["old"]
    with outputs.output_directory(out, replace=True) as folder:
        (folder / "new").write_text("y")
    assert os.listdir(out) == ["new"]
    assert os.listdir(tmp_path) == ["out"]


def test_output_directory_refuses_a_file_and_an_unusable_parent(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(BiasEditError, match="is a file"),
        outputs.output_directory(tmp_path / "file"),
    ):
        raise AssertionError("not reached")
    with (
        pytest.raises(BiasEditError, match="cannot write"),
        outputs.output_directory(tmp_path / "file" / "out"),
    ):
        raise AssertionError("not reached")


def test_sha256_file_of_a_known_text(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
