from __future__ import annotations

import pytest

from hfbiasedit.cards.identifiers import IDENTIFIERS
from hfbiasedit.cards.licence import Licence, chosen_licence, find_licence
from hfbiasedit.cards.model_card import render_card
from hfbiasedit.errors import UsageError
from tests.reports import fixtures


def base(tmp_path, header):
    (tmp_path / "README.md").write_text(f"---\n{header}\n---\n# Base\n")
    return str(tmp_path)


def test_it_is_inherited_from_the_card_of_the_base(tmp_path):
    model = base(tmp_path, "license: bigcode-openrail-m")
    assert find_licence(model, None) == Licence("bigcode-openrail-m", inherited=True)
    assert chosen_licence(None, find_licence(model, None)) == find_licence(model, None)
    assert chosen_licence(" mit ", find_licence(model, None)) == Licence("mit")


def test_a_licence_of_its_own_keeps_name_and_link(tmp_path):
    model = base(tmp_path, "license: other\nlicense_name: acme-1\nlicense_link: LICENSE")
    assert find_licence(model, None) == Licence("other", "acme-1", "LICENSE", inherited=True)


def test_a_list_of_one_is_a_licence(tmp_path):
    assert find_licence(base(tmp_path, "license: [mit]"), None).identifier == "mit"


@pytest.mark.parametrize(
    "header", ["license: [mit, gpl-3.0]", "license: 3", "- a list", "a: [", "title: x", ""]
)
def test_what_cannot_be_read_is_not_guessed(tmp_path, header):
    assert find_licence(base(tmp_path, header), None) is None


def test_a_card_written_on_windows_is_read(tmp_path):
    (tmp_path / "README.md").write_bytes(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n# Base\r\n")
    assert find_licence(str(tmp_path), None).identifier == "mit"


def test_a_rule_further_down_is_no_header(tmp_path):
    (tmp_path / "README.md").write_text("# Base\n---\nlicense: mit\n---\n")
    assert find_licence(str(tmp_path), None) is None


@pytest.mark.parametrize("given", ["", "two words", "-->", "a\nb", "acme-1"])
def test_what_is_no_identifier_is_refused(given):
    with pytest.raises(UsageError, match="no licence identifier"):
        chosen_licence(given, Licence("mit", inherited=True))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("apache2", "did you mean apache-2.0?"),
        ("MIT", "did you mean mit?"),
        ("bigcode-openrail", "did you mean bigcode-openrail-m"),
        ("gpl3", "gpl-3.0?"),
    ],
)
def test_a_misspelt_licence_is_refused_with_what_was_meant(given, meant):
    with pytest.raises(UsageError) as refused:
        chosen_licence(given, None)
    assert meant in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_licence_of_the_hub_can_be_given():
    for name in ("other", "unknown", "openrail++", "llama3.3", *IDENTIFIERS):
        assert chosen_licence(name, None) == Licence(name)


@pytest.mark.parametrize("name", ["acme-community-1", "other"])
def test_what_the_base_declares_can_be_given_and_keeps_name_and_link(tmp_path, name):
    found = find_licence(base(tmp_path, f"license: {name}\nlicense_name: acme-1"), None)
    assert chosen_licence(name, found) == Licence(name, "acme-1", inherited=True)


def test_no_card_no_licence(tmp_path):
    assert find_licence(str(tmp_path), None) is None
    assert find_licence("acme/never-downloaded", fixtures.COMMIT) is None


def test_a_cached_card_is_read_at_its_commit(tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    snapshot = cache / "models--acme--gated" / "snapshots" / fixtures.COMMIT
    snapshot.mkdir(parents=True)
    base(snapshot, "license: other\nlicense_name: acme-1\nlicense_link: LICENSE.md")
    found = find_licence("acme/gated", fixtures.COMMIT)
    assert found is not None
    assert found.link == f"https://huggingface.co/acme/gated/blob/{fixtures.COMMIT}/LICENSE.md"
    assert find_licence("acme/gated", "f" * 40) is None


@pytest.mark.parametrize("what", ["model", "patch"])
def test_the_card_says_where_the_licence_is_from(tmp_path, what):
    made = fixtures.documents(12)
    run = fixtures.write_run(tmp_path / "run", made)
    assert "could not be read" in render_card(run, what=what)
    assert "as set by whoever published" in render_card(run, what=what, license="mit")
    folder = tmp_path / "coder"
    folder.mkdir()
    for key in ("before", "after", "edit", "ability"):
        made[key]["model"].update(id=base(folder, "license: apache-2.0"), revision=None)
    card = render_card(fixtures.write_run(tmp_path / "other", made), what=what)
    assert "`apache-2.0`, inherited" in card
    assert "\nlicense: apache-2.0\n" in card
