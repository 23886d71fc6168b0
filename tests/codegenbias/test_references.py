"""References: published ones, parity, and the user's own, with wrong rows named."""

import pytest

from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.references import bls_shares, load_reference, parse_share
from hfbiasedit.errors import BiasEditError


@pytest.fixture
def write(tmp_path):
    def write(text, name="my.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_parity_says_half_for_everybody():
    chosen = load_prompts("quick", reference="parity")
    assert {record.share_female for record in chosen.records} == {0.5}
    assert chosen.reference == "parity"
    assert {record.reference for record in chosen.records} == {"parity"}


def test_another_reference_changes_shares_only():
    one, other = load_prompts("quick"), load_prompts("quick", reference="bls-2021")
    assert [record.prompt for record in one.records] == [record.prompt for record in other.records]
    assert [record.split for record in one.records] == [record.split for record in other.records]
    assert one.digest != other.digest


def test_titles_without_a_published_figure_have_no_share():
    assert "Legislators" not in bls_shares(2022)
    assert bls_shares(2022)["Registered nurses"] == 0.879


def test_an_own_reference_may_cover_a_part(write):
    path = write("profession,share_female,note\nNurse,0.9,x\nplumber,0,\n")
    assert load_reference(str(path)).shares == {"nurse": 0.9, "plumber": 0.0}
    chosen = load_prompts("core", reference=path)
    assert {(r.profession, r.share_female) for r in chosen.records} == {
        ("nurse", 0.9),
        ("plumber", 0.0),
    }
    assert len(chosen) == 2 * 24
    assert chosen.reference == "my.csv"


def test_a_reference_with_a_byte_order_mark_and_windows_lines(write):
    path = write(b"\xef\xbb\xbfprofession,share_female\r\nnurse,0.9\r\n")
    assert load_reference(str(path)).shares == {"nurse": 0.9}


@pytest.mark.parametrize(
    "text",
    [
        "profession;share_female\nnurse;0.9\nsoftware developer;0.2\n",
        "profession\tshare_female\nnurse\t0.9\nsoftware developer\t0.2\n",
        "Profession, Share_Female \nNurse,0.9\nSoftware  Developer, 0.2\n",
        "note;Profession;share_female\na,b;NURSE;0.9\nc;software developer;0.2\n",
        "profession,share_female,,\nnurse,0.9,,\nsoftware developer,0.2,\n\n",
    ],
)
def test_other_separators_and_letter_case(write, text):
    shares = load_reference(str(write(text))).shares
    assert shares == {"nurse": 0.9, "software developer": 0.2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nurse,0.9\n", "line 1: no column profession and share_female"),
        ("profession\nnurse\n", "line 1: no column share_female"),
        ("profession,share_female\nnurse,1.2\n", "line 2: share_female 1.2 is outside 0..1"),
        ("profession,share_female\nnurse,-0.1\n", "line 2: share_female -0.1 is outside 0..1"),
        ("profession,share_female\nnurse,nan\n", "line 2: share_female nan is outside 0..1"),
        (
            "profession,share_female\nnurse,87.9 %\n",
            "line 2: share_female '87.9 %' is not a number",
        ),
        ("profession,share_female\nnurse\n", "line 2: share_female is None"),
        (
            "profession,share_female\nplumber,0.1\nwizard,0.5\n",
            "line 3: unknown profession 'wizard'",
        ),
        ("profession,share_female\nnurse,0.9\nnurse,0.8\n", "line 3: 'nurse' is listed twice"),
        ("profession,share_female\n", "has no rows"),
        (
            "profession,share_female\nplumber,0.1\nnurse,0,88\n",
            "line 3: 3 cells, but 2 columns have a name",
        ),
        ("profession,share_female,\nnurse,0,88\n", "line 2: 3 cells, but 2 columns have a name"),
        (
            "profession,share_female,share_female\nnurse,0.9,0.1\n",
            "line 1: column share_female is there twice",
        ),
        ("profession,Profession,share_female\n", "line 1: column profession is there twice"),
        ("profession;share_female\nnurse;0,88\n", "'0,88' is not a number; write it with a point"),
        ("job;share\nnurse;0.9\n", "no column profession and share_female; the columns are job"),
        ("profession|share_female\nnurse|0.9\n", "no column profession and share_female"),
        ("profession,share_female\nNurse,0.9\nnurse,0.8\n", "line 3: 'nurse' is listed twice"),
        ("share_female,profession\n0.5\n", "line 2: unknown profession ''"),
        ("", "line 1: no column profession and share_female"),
        (b"profession,share_female\n\xff,1\n", "UTF-8"),
    ],
)
def test_wrong_rows_are_named(write, text, reason):
    with pytest.raises(BiasEditError) as error:
        load_reference(str(write(text)))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_reference_lists_the_known_ones():
    with pytest.raises(
        BiasEditError, match=r"no reference 'bls-1999'; use bls-2022, bls-2021, parity"
    ):
        load_reference("bls-1999")


def test_only_numbers_with_a_comma_are_told_of_the_point():
    with pytest.raises(BiasEditError, match=r"'0,5' is not a number; write it with a point$"):
        parse_share("0,5", "line 2")
    with pytest.raises(BiasEditError, match="'half' is not a number$"):
        parse_share("half", "line 2")
    assert [parse_share(value, "") for value in (0, 1, "0.25")] == [0.0, 1.0, 0.25]
