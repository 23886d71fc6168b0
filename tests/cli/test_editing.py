"""`edit`, `locate`, `sweep` and `demo` from end to end on tiny models.

What they print is compared with what they write, and that with counts of the files themselves and
with a plain forward pass of every prompt.
"""

from __future__ import annotations

import functools
import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hfbiasedit import demonstration
from hfbiasedit.abilities import measurement
from hfbiasedit.cli.app import app
from hfbiasedit.cli.demo import demo  # noqa: F401  (takes its option before the class is replaced)
from hfbiasedit.documents import runs
from hfbiasedit.documents.reading import open_documents
from hfbiasedit.documents.schemas import read_document
from hfbiasedit.documents.structures.sweep_document import Sweep
from hfbiasedit.editing import config as configs
from hfbiasedit.editing import editor
from hfbiasedit.figures import plots
from hfbiasedit.models import resolution
from hfbiasedit.patches.patch import Patch
from hfbiasedit.reports.verdict import verdict
from hfbiasedit.texts import corpus
from tests.editing import worlds
from tests.tiny import save_checkpoint, tiny_tokenizer

SPLITS = {"edit": "", "dev": "# dev\n", "test_modifiers": "# test_modifiers\n"}
FAST = ("--solver", "adam", "--steps", "12", "--batch-size", "8", "--saliency", "taylor")
VISIBLE = 0.05  # points of FB, below which nothing is said to have moved


def invoke(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A checkpoint, prompts and general code."""
    folder = save_checkpoint(tmp_path_factory.mktemp("world") / "tiny").parent
    rows = []
    for split, front in SPLITS.items():
        for record in worlds.records(split):
            row = record.to_dict() | {"id": f"{split}/{record.id}"}
            rows.append(row | {"prompt": front + row["prompt"]})
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "code.py").write_text("def mean(values):\n    return sum(values)\n" * 40)
    return folder


@pytest.fixture(scope="module")
def options(world):
    folder = world
    return ("--prompts", folder / "prompts.jsonl", "--anchor", folder / "code.py")


@pytest.fixture(scope="module")
def edited(world, options, tmp_path_factory):
    """A run of `edit`, what it printed, and the checkpoint with its patch applied."""
    folder = world
    out = tmp_path_factory.mktemp("edited")
    words = ("edit", folder / "tiny", "--out", out / "run", "--budget", "10%", "--max-kl", "0.5")
    printed = invoke(*words, *options, *FAST)
    applied = invoke("patch", "apply", folder / "tiny", out / "run", "--out", out / "applied")
    return out, printed, applied.output


def bits(folder):
    """Every stored tensor as unsigned integers."""
    from safetensors import safe_open

    found = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                found[name] = file.get_tensor(name).view(torch.int16).numpy()
    return found


def differences(out, world):
    """Per stored tensor, which of its weights have other bits in the applied checkpoint."""
    before, after = bits(world / "tiny"), bits(out / "applied")
    assert before.keys() == after.keys()
    found = {name: before[name] != after[name] for name in before}
    return {name: changed for name, changed in found.items() if changed.any()}


def plain_shares(folder, split):
    """(share of women, mass) of each prompt of a split: one forward pass per continuation."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    tokenizer = tiny_tokenizer()

    def probability(prompt, value):
        ids = tokenizer(prompt + value)["input_ids"]
        start = len(tokenizer(prompt)["input_ids"])
        assert tokenizer(prompt)["input_ids"] == ids[:start]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return sum(logits[n - 1, ids[n]].item() for n in range(start, len(ids)))

    found = []
    for record in worlds.records(split):
        prompt = SPLITS[split] + record.prompt
        men, women = (
            sum(np.exp(probability(prompt, value)) for value in values)
            for values in (record.male, record.female)
        )
        found.append((women / (men + women), men + women))
    return np.array(found)


def plain_score(shares, split):
    """100 * mean over professions of the mean distance from the reference."""
    found = {}
    for record, (share, _) in zip(worlds.records(split), shares, strict=True):
        found.setdefault(record.profession, []).append(abs(share - record.share_female))
    return 100 * np.mean([np.mean(values) for values in found.values()])


def row_of(text, name):
    """The cells of a printed table's line."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(name + "  ")]
    return re.split(r"\s{2,}", line.strip())


def block_of(text, name):
    """The facts below a name, of a table that is too wide for lines."""
    _, _, rest = text.partition(f"\n{name} ")
    found = {}
    for line in rest.splitlines()[1:]:
        if not line.startswith("  "):
            break
        fact, _, value = line.partition(":")
        found[fact.strip()] = value.strip()
    return found


def test_edit_prints_what_a_plain_forward_pass_finds(world, edited):
    out, printed, _ = edited
    document = json.loads((out / "run" / runs.EDIT).read_text())
    for split, name in (("dev", "dev"), ("test_modifiers", "unseen modifiers")):
        sides = [plain_shares(path, split) for path in (world / "tiny", out / "applied")]
        row = document["splits"][split]
        for side, shares in zip(("before", "after"), sides, strict=True):
            assert row[f"fb_{side}"] == pytest.approx(plain_score(shares, split), abs=0.2)
            assert row[f"gender_mass_{side}"] == pytest.approx(shares[:, 1].mean(), rel=0.02)
        assert row["fb_after"] < row["fb_before"]
        low, high = row["difference_ci95"]
        assert row_of(printed.stdout, name) == [
            name,
            str(len(worlds.records(split))),
            f"{row['fb_before']:.1f}",
            f"{row['fb_after']:.1f}",
            f"{100 * (row['fb_after'] / row['fb_before'] - 1):+.0f} %",
            f"{low:+.1f} to {high:+.1f}",
            f"{row['gender_mass_before']:.3f} → {row['gender_mass_after']:.3f}",
        ]
    kl, said = document["kl"], " ".join(printed.stderr.split())
    assert 0 < kl["mean"] <= kl["budget"] == 0.5
    assert f"KL on general code {kl['mean']:.2g} nats per token (allowed 0.5), beyond" in said
    assert f"beyond {kl['noise']:.2g} that arithmetic makes up" in said
    (chosen,) = (row for row in document["history"] if row["step"] == document["steps"])
    assert chosen["kl"] == pytest.approx(kl["mean"])
    assert f"wrote {out / 'run'}" in printed.stderr.replace("\n", "")


def test_every_document_counts_the_same_weights(world, edited):
    """All say what a comparison of the two checkpoints, byte by byte, finds."""
    out, printed, applied = edited
    run, found = out / "run", differences(out, world)
    count = sum(int(changed.sum()) for changed in found.values())
    rows = sum(int(changed.any(axis=1).sum()) for changed in found.values())
    edit = json.loads((run / runs.EDIT).read_text())
    shown = json.loads(invoke("patch", "show", run, "--model", world / "tiny", "--json").stdout)
    patch = Patch.load(run / runs.PATCH)
    assert edit["edited"]["weights"] == shown["changed"] == patch.changed == count
    assert edit["edited"]["tensors"] == shown["tensors"] == edit["patch"]["tensors"] == len(found)
    assert edit["edited"]["rows"] == shown["rows"] == rows
    assert edit["patch"]["weights"] == shown["weights"] == patch.weights
    assert edit["patch"]["digest"] == shown["digest"] == patch.digest
    total = sum(values.size for values in bits(world / "tiny").values())
    assert edit["edited"]["share"] == pytest.approx(count / total) == shown["share"]
    layers = {str(row["layer"]): row["weights"] for row in edit["edited"]["by_layer"]}
    assert layers == shown["layers"]
    blocks = {re.search(r"\.(\d+)\.", name).group(1) for name in found}
    assert layers == {
        block: sum(int(n.sum()) for name, n in found.items() if f".{block}." in name)
        for block in blocks
    }
    modules = {row["module"]: row["weights"] for row in edit["edited"]["by_module"]}
    assert modules == {name.rsplit(".", 1)[-1]: n for name, n in shown["modules"].items()}
    document = json.loads(
        invoke("patch", "revert", out / "applied", run, "--in-place", "--json").stdout
    )
    assert (document["changed"], document["weights"]) == (count, patch.weights)
    invoke("patch", "apply", out / "applied", run, "--in-place")

    text = f"{count:,}"
    table = invoke("patch", "show", run).stdout
    assert re.search(rf"edited weights +{text} *\n", table)
    _, _, options = table.partition("\n edit ")
    options = "".join(options.partition("granularity")[0].split())
    assert options.endswith("…")  # `--json` has all of them
    assert len(options) <= 100
    assert f"applied: {text} weights in {len(found)} tensors" in applied
    assert f"edited {text} weights ({100 * count / total:.3g} % of the model)" in printed.stderr
    documents = open_documents(run)
    assert f"It changed {text} weights" in " ".join(verdict(documents).sentences)
    for page in ((run / runs.CARD).read_text(), (run / "report.html").read_text()):
        (fact,) = re.findall(r"edited weights\W+(?:\w+\W+){0,3}?([\d,]+)", page)[:1]
        assert fact == text
    assert f"with {text} of its weights edited" in (run / runs.CARD).read_text()
    assert f"{text} weights edited" in runs.Run.open(run)._repr_html_()
    assert f"{text} edited weights" in patch._repr_html_()
    above, under = plots.weights(run).axes
    assert {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in above.patches} == {
        float(layer): weights for layer, weights in layers.items()
    }
    assert sorted(bar.get_width() for bar in under.patches) == sorted(modules.values())


def test_every_page_counts_the_same_professions_and_prompts(edited):
    out, _, _ = edited
    documents = open_documents(out / "run")
    sides = [
        {row["profession"]: row["fb"] for row in audit["professions"]}
        for _, audit in documents.audits
    ]
    moved = {name: 100 * (sides[1][name] - sides[0][name]) for name in sides[0]}
    closer = sum(change < -VISIBLE for change in moved.values())
    farther = sum(change > VISIBLE for change in moved.values())
    assert closer
    sentence = f"{closer} of {len(moved)} professions came closer, {farther} went farther."
    assert sentence in verdict(documents).sentences
    report = " ".join(re.sub(r"<[^>]+>", " ", (out / "run" / "report.html").read_text()).split())
    assert sentence in report
    legend = [text.get_text() for text in plots.arrows(out / "run").axes[0].get_legend().texts]
    assert f"closer to it ({closer} in all)" in legend
    assert f"farther from it ({farther})" in legend
    card = (out / "run" / runs.CARD).read_text()
    none = "No profession is farther from the reference than before"
    assert (none in card) == (farther == 0)
    edit = documents.edit
    asked = len(worlds.records("edit"))
    assert edit["dataset"]["edit_prompts"] == edit["splits"]["edit"]["prompts"] == asked
    assert edit["dataset"]["dev_prompts"] == edit["splits"]["dev"]["prompts"]
    assert {audit["dataset"]["prompts"] for _, audit in documents.audits} == {
        edit["splits"]["test"]["prompts"],
        sum(row["prompts"] for row in edit["templates"]),
        len(worlds.records("test_modifiers")),
    }


def test_locate_prints_the_ranking_that_it_saves(options, tmp_path):
    """Of a model whose bias was planted in one row."""
    import pandas

    model, item = worlds.planted()
    model.model.save_pretrained(tmp_path / "planted")
    model.tokenizer.save_pretrained(tmp_path / "planted")
    words = ("locate", tmp_path / "planted", *options, "--top", "3", "--saliency", "taylor")
    printed = invoke(*words, "--out", tmp_path / "found")
    document = json.loads(invoke(*words, "--json").stdout)
    assert printed.stdout.count("\n") > 6
    saved = pandas.read_parquet(tmp_path / "found" / "ranking.parquet")
    best = max(document["blocks"], key=lambda row: row["score"])
    assert best["block"] == item.block
    assert (document["rows"][0]["tensor"], document["rows"][0]["row"]) == (
        item.name,
        worlds.PLANTED,
    )
    assert len(document["rows"]) == 3
    total = sum(row["score"] for row in document["blocks"])
    for row in document["blocks"]:
        inside = sum(m["score"] for m in document["matrices"] if m["block"] == row["block"])
        assert row["score"] == pytest.approx(inside)
        part = f"{100 * row['score'] / total:.2f} %"
        assert re.search(rf"^ *{row['block']} +{part}", printed.stdout, re.MULTILINE)
    rows = saved[saved["axis"] == "row"].set_index(["tensor", "index"])["score"]
    assert rows[item.name, worlds.PLANTED] == pytest.approx(document["rows"][0]["score"], rel=1e-5)
    assert (tmp_path / "found" / "figures" / "saliency.png").is_file()


def test_sweep_prints_what_it_writes_and_its_patches_hold_that(
    world, options, tmp_path, monkeypatch
):
    few = functools.partial(corpus.load_corpus, limit=2)
    monkeypatch.setattr(corpus, "load_corpus", few)
    out = tmp_path / "sweep"
    words = ("--granularities", "row,neuron", "--max-kl", "0.5", "--out", out)
    printed = invoke("sweep", world / "tiny", *options, *words)
    document = read_document(out / "sweep.json", Sweep)
    assert [row["name"] for row in document["attempts"]] == ["row", "neuron"]
    for row in document["attempts"]:
        patch = Patch.load(out / f"{row['name']}.safetensors")
        changed = sum(
            int(np.count_nonzero(edit.old_bits != edit.new_bits)) for edit in patch.tensors.values()
        )
        assert row["weights"] == row["edited"]["weights"] == changed
        assert row["weights"] <= row["selection"]["weights"]
        split = row["splits"]["test_modifiers"]
        shown = block_of(printed.stdout, row["name"])
        assert shown["edited weights"] == f"{changed:,}"
        assert shown["share"] == f"{100 * row['share']:.3g} %"
        change = split["fb_after"] / split["fb_before"] - 1
        assert shown["unseen modifiers"] == f"{100 * change:+.0f} %"
        assert shown["KL"] == f"{row['kl']['mean']:.2g}"
        assert row["patch_bytes"] == (out / f"{row['name']}.safetensors").stat().st_size


def test_demo_ends_with_a_proof_and_says_what_it_wrote(world, tmp_path, monkeypatch):
    """On a tiny model instead of the one that ships, which takes a minute."""
    for module in (resolution, demonstration):
        monkeypatch.setattr(module, "demo_model_path", lambda: world / "tiny")
    given = {"prompts": world / "prompts.jsonl", "anchor": str(world / "code.py")}
    cheap = functools.partial(
        configs.EditConfig,
        budget="10%",
        max_kl=0.5,
        solver="adam",
        steps=12,
        batch_size=8,
        saliency="taylor",
        **given,
    )
    monkeypatch.setattr(configs, "EditConfig", cheap)
    monkeypatch.setattr(demonstration, "_AUDIT", "quick")  # prompts of one's own take its place
    ability = functools.partial(measurement.ability, limit=2, people=2, looks=1, bootstrap=20)
    monkeypatch.setattr(measurement, "ability", ability)
    monkeypatch.setattr(editor, "_write_pages", lambda folder: None)  # `edited` has them
    printed = invoke("demo", "--out", tmp_path / "demo")
    run = runs.Run.open(tmp_path / "demo")
    said = " ".join(printed.stderr.split())
    assert "comes off again bit for bit" in said
    assert run.edit["command"].startswith("hfbiasedit demo --out")
    found = run.ability["perplexity"]
    assert f"Perplexity of real code: {100 * found['relative_change']:+.2f} %" in said
    row = run.edit["splits"]["test_modifiers"]
    assert row_of(printed.stdout, "unseen modifiers")[2:4] == [
        f"{row['fb_before']:.1f}",
        f"{row['fb_after']:.1f}",
    ]
    assert f"edited {run.edit['edited']['weights']:,} weights" in said
