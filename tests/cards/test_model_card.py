from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from hfbiasedit.cards.model_card import card_to_publish, render_card, write_card
from hfbiasedit.documents.formatting import MINUS
from hfbiasedit.errors import BiasEditError, UsageError
from tests.reports import fixtures


@pytest.fixture(scope="module")
def made():
    documents = fixtures.documents(60)
    documents["after"]["professions"][3]["fb"] = documents["before"]["professions"][3]["fb"] + 0.03
    return documents


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    directory = fixtures.write_run(tmp_path_factory.mktemp("cards") / "run", made)
    (directory / "figures").mkdir()
    (directory / "figures" / "shares.png").write_bytes(b"drawn")
    return directory


def parts(card):
    header, text = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()
    return yaml.safe_load(header), text


def check_reads_well(text):
    """No empty section, no placeholder, no table row of another width than its heading."""
    assert not re.search(r"\b(None|nan|NaN|inf|undefined)\b", text)
    assert "\n\n\n" not in text
    outside = re.sub(r"```.*?```", "code", text, flags=re.DOTALL)
    assert outside.count("```") == 0
    headings = [
        (len(h), place)
        for place, line in enumerate(outside.split("\n"))
        if (h := (re.match(r"#+(?= )", line) or [""])[0])
    ]
    lines = outside.split("\n")
    for (level, place), (following, end) in zip(
        headings, [*headings[1:], (1, len(lines))], strict=True
    ):
        body = "".join(lines[place + 1 : end]).strip()
        assert body or following > level, f"empty section: {lines[place]}"
    for block in re.findall(r"(?:^\|.*\|$\n?)+", outside, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().split("\n")}
        assert len(widths) == 1, block
        assert len(block.strip().split("\n")) > 2, f"a table without rows: {block}"


@pytest.mark.parametrize("what", ["model", "patch"])
def test_a_full_card_reads_well_and_says_what_matters(run, what, made):
    header, text = parts(render_card(run, what=what, repo_id="me/edited"))
    check_reads_well(text)
    before, after, edit = made["before"], made["after"], made["edit"]
    for words in (
        "<!-- made by hfbiasedit ",
        f"**{before['fb_score']:.1f}** to **{after['fb_score']:.1f}**",
        edit["command"],
        'load_patched("me/edited")',
        f"hfbiasedit patch apply acme/tiny-coder@{fixtures.COMMIT} me/edited",
        "hfbiasedit patch revert",
        "vllm serve",
        "## Intended use",
        "**Not for** deciding anything about real people",
        "@software{hfbiasedit,",
        "| court clerk | likeliest continuation | share of women | 20 draws, seed 0 |",
        '| before | `male"` | 10.0% | 2 women, 18 men |',
        "unseen templates",
        "Farther from the reference than before",
        "HumanEval, pass@1",
        "Binary gender",
        "one year",
        "English occupation nouns",
        "not the same as fairness",
        "--reference parity",
        "2410.07820",
        "does not reproduce the\npaper's numbers",
        fixtures.COMMIT,
        fixtures.PATCH_DIGEST,
        made["before"]["prompts_digest"],
        "torch 2.13.0",
        "figures/shares.png",
    ):
        assert words in text, words
    assert "figures/arrows.png" not in text  # not drawn, so not shown
    assert text.count("<details>") == text.count("</details>") == 5
    assert header["base_model"] == ["acme/tiny-coder"]


def farther(text):
    """The words before the table of what became worse, its last heading, and its last column."""
    words, _, table = text.partition("Farther from the reference")[2].partition("\n\n")
    lines = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    column = [line[-1].split(" ")[0].replace(MINUS, "-") for line in lines[2:]]
    return words, lines[0][-1], [float(cell) for cell in column]


@pytest.mark.parametrize("estimated", [True, False])
def test_the_worst_are_the_first_by_what_is_shown(tmp_path, made, estimated):
    mine = copy.deepcopy(made)
    for number, row in enumerate(mine["after"]["professions"]):
        row["fb"] = mine["before"]["professions"][number]["fb"] + 0.01 * (number % 20)
        row["n"] = mine["before"]["professions"][number]["n"] = 1 + number % 7
    if not estimated:
        del mine["before"]["examples"]
    text = parts(render_card(fixtures.write_run(tmp_path / "run", mine)))[1]
    check_reads_well(text)
    words, heading, column = farther(text)
    assert len(column) == 15
    assert column == sorted(column, reverse=True)
    assert ("the 15 with the largest estimate)" in words) == estimated
    assert heading == ("estimate (95% interval)" if estimated else "change of FB")


def test_what_is_not_folded_is_short(run):
    text = parts(render_card(run))[1]
    shown = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    assert len(shown.split()) < 800
    assert "prompts digest" in text
    assert "prompts digest" not in shown


def test_an_example_shows_the_end_of_its_prompt_and_cannot_break_out(tmp_path, made):
    mine = copy.deepcopy(made)
    (one, _) = mine["edit"]["examples"]
    one.update(language="c#\n```", prompt="first line\n" + "    x = 1\n" * 12 + '    g = "```')
    one["before"]["text"] = "a `b` | c"
    text = parts(render_card(fixtures.write_run(tmp_path / "run", mine)))[1]
    check_reads_well(text)
    assert "first line" not in text
    assert "its end:" in text
    assert "```text\nx = 1\n" in text
    assert "`a 'b' \\| c`" in text
    assert "went farthest away" in text
    del mine["edit"]["examples"]  # a run of an older version
    assert "What it writes" not in render_card(fixtures.write_run(tmp_path / "old", mine))


@pytest.mark.parametrize("what", ["model", "patch"])
def test_edited_weights_are_counted_in_one_way(run, tmp_path, made, what):
    text = parts(render_card(run, what=what))[1]
    assert "48,731" in text
    assert "49,152" not in text  # selected, and 421 of them came out as they were
    old = copy.deepcopy(made)
    del old["edit"]["edited"]  # a document of an older version
    assert "49,152" in render_card(fixtures.write_run(tmp_path / "run", old), what=what)


def test_only_the_model_card_loads_the_model_as_a_whole(run):
    assert 'from_pretrained("me/edited")' in render_card(run, repo_id="me/edited")
    patch = render_card(run, what="patch", repo_id="me/edited")
    assert 'from_pretrained("me/edited")' not in patch
    assert "no model" in patch
    with pytest.raises(UsageError, match="choose model or patch"):
        render_card(run, what="dataset")


def drop_ability(made):
    del made["ability"]


def drop_splits(made):
    made["edit"]["splits"] = {"test": made["edit"]["splits"]["test"]}


def drop_most(made):
    del made["ability"]
    made["edit"].update(splits={}, history=[])
    made["edit"]["edited"].update(by_layer=[], by_module=[])
    for side in ("before", "after"):
        made[side].update(amplification=None, warnings=["few prompts"])
        made[side]["model"].update(revision=None)
    made["edit"]["model"].update(revision=None)
    for side in ("before", "after"):
        for row in made[side]["professions"]:
            del row["group"]


def only_perplexity_before(made):
    for part in ("syntax", "humaneval"):
        del made["ability"][part]
    del made["ability"]["perplexity"]["after"]


def nothing_moves(made):
    made["after"]["professions"] = copy.deepcopy(made["before"]["professions"])


def own_prompts(made):
    for side in ("before", "after"):
        made[side]["dataset"].update(
            split="all", config="custom", reference="/home/ada/my shares.csv"
        )


def parity(made):
    for side in ("before", "after"):
        made[side]["dataset"]["reference"] = "parity"


@pytest.mark.parametrize(
    "change",
    [
        drop_ability,
        drop_splits,
        drop_most,
        only_perplexity_before,
        nothing_moves,
        own_prompts,
        parity,
    ],
)
@pytest.mark.parametrize("what", ["model", "patch"])
def test_optional_parts_leave_no_gap(tmp_path, made, change, what):
    mine = copy.deepcopy(made)
    change(mine)
    header, text = parts(render_card(fixtures.write_run(tmp_path / "run", mine), what=what))
    check_reads_well(text)
    assert header["model-index"]
    if change is parity:
        assert "Parity is a goal" in text
        assert "Statistics of one country" not in text
    if change is own_prompts and what == "model":
        assert "--prompts prompts.jsonl --split all --reference 'my shares.csv'" in text
    assert "/home/ada" not in text
    assert ("held-out prompts" in text) == (change is not own_prompts)
    if change is nothing_moves:
        assert "No profession is farther" in text


@pytest.mark.parametrize(
    ("interval", "words"),
    [([-3, -1], None), ([-3, 1], "no clear change"), ([1, 3], "worse than the base model")],
)
def test_the_headline_claims_no_more_than_the_interval(tmp_path, made, interval, words):
    mine = copy.deepcopy(made)
    mine["edit"]["splits"]["test"]["difference_ci95"] = interval
    text = render_card(fixtures.write_run(tmp_path / "run", mine))
    for claim in ("no clear change", "worse than the base model"):
        assert (claim in text) == (claim == words)


def test_a_local_base_has_no_name_elsewhere(tmp_path, made):
    mine = copy.deepcopy(made)
    for key in ("before", "after", "edit", "ability"):
        mine[key]["model"].update(id="/home/ada/models/coder", revision=None)
    header, text = parts(render_card(fixtures.write_run(tmp_path / "run", mine)))
    assert "base_model" not in header
    assert "a local model" in text
    assert "/home/ada" not in text
    assert "huggingface.co/coder" not in text


def test_a_folder_that_looks_like_an_id_is_not_taken_for_one(tmp_path, made):
    mine = copy.deepcopy(made)
    for key in ("before", "after", "edit", "ability"):
        mine[key]["model"].update(id="models/coder", revision=None)
    header, text = parts(render_card(fixtures.write_run(tmp_path / "run", mine)))
    assert "base_model" not in header
    assert "a local model" in text
    assert "models/coder" not in text


def test_names_from_data_cannot_break_out(tmp_path, made):
    mine = copy.deepcopy(made)
    hostile = "a|b <script>x</script>\n# heading `q` [l](javascript:x)"
    for side in ("before", "after"):
        mine[side]["professions"][0].update(
            profession=hostile, model_share=0.0 if side == "before" else 1.0
        )
    mine["edit"]["command"] = "hfbiasedit edit\n```\n# injected"
    mine["edit"]["examples"][0]["profession"] = hostile
    _, text = parts(render_card(fixtures.write_run(tmp_path / "run", mine)))
    check_reads_well(text)
    assert "<script>" not in text.replace(r"\<script\>", "")
    assert "\n# heading" not in text
    assert "\n```\n# injected" not in text


def test_own_templates_are_used_and_checked(run, tmp_path: Path):
    own = tmp_path / "own.md"
    own.write_text("---\n{{ metadata }}\n---\n# {{ name }}: {{ after.fb_score|score }}\n")
    assert write_card(run, template=own) == run / "README.md"
    written = (run / "README.md").read_text()
    assert "# acme/tiny-coder: " in written
    own.write_text("{{ mispelt }}")
    with pytest.raises(BiasEditError, match=r"own.md: 'mispelt' is undefined"):
        write_card(run, template=own)
    assert (run / "README.md").read_text() == written  # a failure leaves the old card


def test_a_card_for_publishing_is_rendered_again_unless_somebody_changed_it(tmp_path, made):
    run = fixtures.write_run(tmp_path / "run", made)
    assert "me/x" in card_to_publish(run, what="patch", repo_id="me/x")[0]
    path = write_card(run, license="mit")
    text, own = card_to_publish(run, what="model", repo_id="me/x")
    assert not own
    assert "me/x" in text
    assert "license: mit" in text
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert card_to_publish(run, what="model", repo_id="me/x") == (text, False)
    path.write_text(path.read_text() + "\nMy own words.\n")
    text, own = card_to_publish(run, what="model", repo_id="me/x")
    assert own
    assert text == path.read_text()
    path.write_text("# All mine")
    assert card_to_publish(run, what="model", repo_id="me/x") == ("# All mine", True)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(BiasEditError, match="not a run directory"):
        render_card(tmp_path)
