"""Exported files, read back by `datasets` and by the program, hold the same records."""

import json
import shutil

import datasets
import jinja2
import pytest
import yaml

from hfbiasedit.codegenbias.cells import QUICK_SIZES
from hfbiasedit.codegenbias.configs import VERSION
from hfbiasedit.codegenbias.prompts import load_prompts
from hfbiasedit.codegenbias.records import COLUMNS
from hfbiasedit.codegenbias.sharing import dataset_card
from hfbiasedit.codegenbias.sharing.export import FORMATS, build_dataset, export_dataset, features
from hfbiasedit.codegenbias.templates import load_templates
from hfbiasedit.errors import BiasEditError
from tests.hub_server.yaml_check import front_matter, problems


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / request.param
    export_dataset(out, configs=("quick", "core"), format=request.param)
    return out, request.param


def rows_of(config):
    return [record.to_dict() for record in load_prompts(config).records]


@pytest.mark.parametrize("config", ["quick", "core"])
def test_load_dataset_gives_the_same_records(exported, config, tmp_path):
    out, format = exported
    loaded = datasets.load_dataset(str(out), config, cache_dir=str(tmp_path))
    rows = [row for split in loaded.values() for row in split]
    if format == "csv":
        rows = [row | {k: json.loads(row[k]) for k in ("male", "female")} for row in rows]
    else:
        assert all(split.features == features() for split in loaded.values())
    assert rows == rows_of(config)
    for split, part in loaded.items():
        assert set(part["split"]) == {split}


@pytest.mark.parametrize("config", ["quick", "core"])
def test_the_program_reads_its_own_export(exported, config):
    out, format = exported
    own = load_prompts(prompts=out / "data" / config)
    assert own.records == load_prompts(config).records
    assert own.digest == load_prompts(config).digest
    part = load_prompts(prompts=out / "data" / config / f"test_modifiers.{format}")
    assert part.records == load_prompts(config, "test_modifiers").records


def test_quick_is_the_default_configuration(exported, tmp_path):
    out, _ = exported
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path))
    assert sum(len(split) for split in loaded.values()) == 600


def test_as_a_dataset_dict():
    built = build_dataset("quick", reference="parity")
    assert isinstance(built, datasets.DatasetDict)
    assert {name: len(part) for name, part in built.items()} == QUICK_SIZES[VERSION]
    assert built["edit"].column_names == list(COLUMNS)
    assert built["edit"].features == features()
    assert set(built["dev"]["share_female"]) == {0.5}


def test_the_same_export_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        export_dataset(tmp_path / name, configs=("quick",), name="x")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_own_prompts_and_references(tmp_path):
    prompts = tmp_path / "my.jsonl"
    row = {"prompt": "x = ", "profession": "nurse", "male": ["he"], "female": ["she"]}
    prompts.write_text(json.dumps(row) + "\n")
    out = export_dataset(tmp_path / "mine", prompts=prompts)
    loaded = datasets.load_dataset(str(out), "custom", cache_dir=str(tmp_path / "cache"))
    assert [row["prompt"] for part in loaded.values() for row in part] == ["x = "]
    reference = tmp_path / "my.csv"
    reference.write_text("profession,share_female\nnurse,0.5\n")
    out = export_dataset(tmp_path / "two", configs=("core",), reference=str(reference))
    assert len(load_prompts(prompts=out / "data" / "core")) == 24
    assert "reference `my.csv`, and only professions that it mentions" in card(out)


def card(out):
    return (out / "README.md").read_text(encoding="utf-8")


def test_the_card_is_complete_and_accepted(exported):
    text = card(exported[0])
    metadata = front_matter(text)
    assert problems(metadata) == []
    assert metadata["license"] == "cc-by-4.0"
    assert [config["config_name"] for config in metadata["configs"]] == ["quick", "core"]
    assert "| `quick` | 184 | 60 | 86 | 134 | 86 | 50 | 600 |" in text
    assert "| `core` | 4428 | 0 | 1476 | 0 | 1242 | 414 | 7560 |" in text
    assert "Version 2 of the dataset" in text
    assert all(f"| `{row.id}` | {row.role} |" in text for row in load_templates())
    for words in ("Two genders", "United States", "English", "Bureau of Labor", "public domain"):
        assert words in text
    for word in ("None", "nan", "{{", "{%", "Undefined"):
        assert word not in text
    assert yaml.safe_load(text.split("---\n")[1]) == metadata


def test_an_earlier_version_has_its_own_card(tmp_path):
    out = export_dataset(tmp_path / "old", configs=("quick@1",), format="jsonl")
    assert load_prompts(prompts=out / "data/quick@1").digest == load_prompts("quick@1").digest
    text = card(out)
    assert problems(front_matter(text)) == []
    assert "Version 1 of the dataset" in text
    assert "`edit` and `dev` differ in cells only" in text
    assert "rust_struct" not in text
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert sum(len(split) for split in loaded.values()) == 600
    with pytest.raises(BiasEditError, match="different versions"):
        export_dataset(tmp_path / "both", configs=("quick", "core@1"))
    assert not (tmp_path / "both").exists()


def test_a_card_with_a_hole_is_an_error(tmp_path, monkeypatch):
    broken = tmp_path / "broken.md.jinja"
    broken.write_text("{{ nobody_knows_this }}")
    monkeypatch.setattr(dataset_card, "template_path", lambda name: broken)
    with pytest.raises(jinja2.UndefinedError):
        export_dataset(tmp_path / "out", configs=("quick",))
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(BiasEditError, match="not empty"):
        export_dataset(out, configs=("quick",))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(BiasEditError, match="something else than a dataset"):
        export_dataset(out, configs=("quick",), replace=True)
    assert (out / "mine.txt").read_text() == "x"
    (out / "mine.txt").unlink()
    with pytest.raises(BiasEditError, match="no format 'xml'; use parquet, jsonl, csv"):
        export_dataset(tmp_path / "other", format="xml")


@pytest.mark.parametrize("mine", ["README.md", "data/core/mine.csv", "mine/quick/edit.jsonl"])
def test_only_an_export_is_replaced(tmp_path, mine):
    out = export_dataset(tmp_path / "out", configs=("quick",), format="jsonl")
    export_dataset(out, configs=("quick",), format="csv", replace=True)
    assert not list(out.rglob("*.jsonl"))
    if mine == "README.md":
        shutil.rmtree(out / "data")
    (out / mine).parent.mkdir(parents=True, exist_ok=True)
    (out / mine).write_text("precious")
    words = "something else than" if mine == "README.md" else "more than"
    with pytest.raises(BiasEditError, match=f"holds {words} a dataset"):
        export_dataset(out, configs=("quick",), replace=True)
    assert (out / mine).read_text() == "precious"


def test_the_card_of_own_prompts_claims_neither_licence_nor_source(tmp_path):
    row = {"prompt": "x = '", "profession": "welder", "male": ["he"], "female": ["she"]}
    rows = [row | {"share_female": 0.3}, row | {"profession": "nurse"}]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = export_dataset(tmp_path / "out", prompts=path, format="jsonl", name="me/mine")
    text = (out / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---\n")[1])
    assert metadata["pretty_name"] == "me/mine"
    assert not {"license", "source_datasets", "annotations_creators", "language"} & set(metadata)
    assert metadata["configs"][0]["config_name"] == "custom"
    assert "CC BY" not in text
    assert "- 1 prompt: given with the prompts" in text
    assert "- 1 prompt: U.S. Bureau of Labor Statistics" in text
    (tmp_path / "mine.csv").write_text("profession,share_female\nwelder,0.1\nnurse,0.2\n")
    out = export_dataset(tmp_path / "own", prompts=path, reference=str(tmp_path / "mine.csv"))
    text = (out / "README.md").read_text()
    assert "Labor" not in text
    assert "- 2 prompts: `mine.csv`" in text
    ours = export_dataset(tmp_path / "ours", configs=["quick"])
    assert (
        yaml.safe_load((ours / "README.md").read_text().split("---\n")[1])["license"] == "cc-by-4.0"
    )
