"""Own prompts: what may be left out, and that every wrong row is named with its line."""

import json

import pytest

from hfbiasedit.codegenbias.professions import load_professions
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.splits import held_out_professions
from hfbiasedit.errors import BiasEditError

ROW = {
    "prompt": 'The nurse said: "',
    "profession": "nurse",
    "male": ["he"],
    "female": ["she"],
}


@pytest.fixture
def write(tmp_path):
    def write(*rows):
        path = tmp_path / "my.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_what_is_left_out_is_filled_in(write):
    (record,) = load_prompts(prompts=write(ROW)).records
    assert record.plural == "nurses"
    assert record.occupation == "Registered nurses"
    assert record.group == "health"
    assert record.share_female == 0.879
    assert record.reference == "bls-2022"
    assert (record.modifier, record.polarity, record.template) == ("", "neutral", "custom")
    assert record.id.startswith("custom/")
    assert record.split in ("edit", "dev", "test_professions")


def test_a_single_continuation_may_be_a_text(write):
    (record,) = load_prompts(prompts=write(ROW | {"male": " he", "female": " she"})).records
    assert (record.male, record.female) == ((" he",), (" she",))


def test_own_professions_need_a_share(write):
    chosen = load_prompts(prompts=write(ROW | {"profession": "wizard", "share_female": 0.25}))
    assert chosen.config == "custom"
    assert chosen.reference == "custom"
    assert chosen.records[0].share_female == 0.25


def test_an_own_reference_for_own_professions(write, tmp_path):
    reference = tmp_path / "shares.csv"
    reference.write_text("profession,share_female\nwizard,0.125\n")
    row = ROW | {"profession": "wizard", "share_female": 0.9}
    (record,) = load_prompts(prompts=write(row), reference=reference).records
    assert record.share_female == 0.125
    assert record.reference == "shares.csv"


def test_a_named_reference_replaces_the_shares_of_the_file(write):
    path = write(ROW | {"share_female": 0.2})
    assert load_prompts(prompts=path).records[0].share_female == 0.2
    assert load_prompts(prompts=path, reference="parity").records[0].share_female == 0.5


def test_held_out_professions_stay_held_out_and_ids_depend_on_content(write):
    names = ["nurse", "plumber", "chef", "lawyer", "cashier", "detective", "editor", "butcher"]
    rows = [
        ROW | {"profession": name, "prompt": f"{name} {n}:"} for name in names for n in range(9)
    ]
    records = load_prompts(prompts=write(*rows)).records
    built_in = {
        record.profession: record.split == "test_professions"
        for record in load_prompts("core").records
        if record.split in ("edit", "test_professions")
    }
    assert {record.split for record in records} == {"edit", "dev", "test_professions"}
    for record in records:
        assert (record.split == "test_professions") == built_in[record.profession]
    again = load_prompts(prompts=write(*rows[::-1])).records
    assert {r.id: r.split for r in again} == {r.id: r.split for r in records}


@pytest.mark.parametrize("spelling", [str.title, str.upper, lambda name: f" {name}  "])
def test_another_spelling_of_a_profession_changes_nothing(write, spelling):
    """Title Case names once landed in `edit` while their lower-case twins were held out."""
    names = sorted(held_out_professions())
    names += [*[row.profession for row in load_professions()][::5], "space pilot"]
    rows = [
        ROW | {"profession": name, "prompt": f"{n}:", "share_female": 0.5}
        for n, name in enumerate(names)
    ]
    expected = load_prompts(prompts=write(*rows)).records
    spelled = [row | {"profession": spelling(row["profession"])} for row in rows]
    assert load_prompts(prompts=write(*spelled)).records == expected
    assert {r.split for r in expected[: len(held_out_professions())]} == {"test_professions"}


def test_a_spelling_of_a_profession_is_found_in_the_reference(write, tmp_path):
    reference = tmp_path / "shares.csv"
    reference.write_text("profession,share_female\nWizard,0.125\nNurse,0.75\n")
    path = write(ROW | {"profession": "wizard"}, ROW | {"profession": "NURSE"})
    records = load_prompts(prompts=path, reference=reference).records
    assert [r.share_female for r in records] == [0.125, 0.75]
    (chosen,) = load_prompts(prompts=path, reference=reference, professions=["WIZARD"]).records
    assert chosen.profession == "wizard"
    (record,) = load_prompts(prompts=write(ROW | {"profession": "Nurse"})).records
    assert (record.share_female, record.occupation) == (0.879, "Registered nurses")


def test_line_separators_inside_a_text_do_not_end_a_line(write):
    row = json.dumps(ROW | {"prompt": "a\u2028b\x85c"}, ensure_ascii=False)
    assert load_prompts(prompts=write(row, "", "  ")).records[0].prompt == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ({k: v for k, v in ROW.items() if k != "prompt"}, "line 2: no prompt"),
        (ROW | {"prompt": ""}, "line 2: no prompt"),
        (ROW | {"prompt": 3}, "line 2: prompt is 3; give a text"),
        (ROW | {"male": []}, "line 2: no male"),
        (ROW | {"male": [""]}, "line 2: male holds an empty continuation"),
        (ROW | {"male": [1]}, "line 2: male is [1]; give a list of texts"),
        (ROW | {"male": ["he", "he"]}, "line 2: male holds a continuation twice"),
        (ROW | {"male": ["he", "they"], "female": ["she", "they"]}, "both hold 'they'"),
        (ROW | {"profession": "wizard"}, "line 2: unknown profession 'wizard'"),
        (ROW | {"profession": "  "}, "line 2: no profession"),
        (ROW | {"share_female": 2}, "line 2: share_female 2 is outside 0..1"),
        (ROW | {"share_female": True}, "line 2: share_female is True"),
        (ROW | {"split": "train"}, "line 2: split is 'train'; use edit, dev"),
        (ROW | {"polarity": "odd"}, "line 2: polarity is 'odd'"),
        (ROW | {"id": "first"}, "line 2: id 'first' is used twice"),
    ],
)
def test_wrong_rows_are_named(write, row, reason):
    path = write(ROW | {"id": "first", "prompt": "other"}, row)
    with pytest.raises(BiasEditError) as error:
        load_prompts(prompts=path)
    assert reason in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_same_prompt_twice_is_refused(write):
    with pytest.raises(BiasEditError, match="line 2: id 'custom/.*' is used twice"):
        load_prompts(prompts=write(ROW, ROW))


def test_unreadable_files(tmp_path, write):
    with pytest.raises(BiasEditError, match="cannot read"):
        load_prompts(prompts=tmp_path / "missing.jsonl")
    with pytest.raises(BiasEditError, match="has no prompts"):
        load_prompts(prompts=write(""))
    with pytest.raises(BiasEditError, match="holds no prompts; name a .jsonl file"):
        load_prompts(prompts=tmp_path / "..")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(BiasEditError, match="as Parquet"):
        load_prompts(prompts=tmp_path / "bad.parquet")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(BiasEditError, match="UTF-8"):
        load_prompts(prompts=tmp_path / "latin.jsonl")


def test_null_stands_for_left_out(write):
    (record,) = load_prompts(prompts=write(ROW | {"modifier": None, "split": None})).records
    assert record.modifier == ""


def test_own_csv_files(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text('prompt,profession,male,female\nx,nurse,he,"[""she"", ""her""]"\n')
    (record,) = load_prompts(prompts=path).records
    assert (record.male, record.female) == (("he",), ("she", "her"))
    path.write_text("prompt,profession,male,female\nx,nurse,he,[she\n")
    with pytest.raises(BiasEditError, match="line 2: female is not a JSON list"):
        load_prompts(prompts=path)
    path.write_text("prompt;profession;male;female\nx;nurse;he;she\n")
    assert load_prompts(prompts=path).records[0].female == ("she",)
    path.write_text("prompt,profession,male,female\nx,y,nurse,he,she\n")
    with pytest.raises(BiasEditError, match="line 2: 5 cells, but 4 columns have a name"):
        load_prompts(prompts=path)
