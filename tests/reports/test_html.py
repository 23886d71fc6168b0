from __future__ import annotations

import base64
import copy
import hashlib
import re
from html.parser import HTMLParser

import pytest

from hfbiasedit.documents.reading import Documents
from hfbiasedit.errors import BiasEditError
from hfbiasedit.reports.html import render_report, write_report
from tests.reports import fixtures

HOSTILE = '"><img src=x onerror=alert(1)></td><script>alert(2)</script>'
URL_ATTRIBUTES = {"src", "href", "action", "data", "poster", "srcset", "formaction"}


class Page(HTMLParser):
    """Collects tags, the values of attributes that load something, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.urls, self.words, self.stack = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.urls += [value for key, value in attributes if key in URL_ATTRIBUTES]
        self.stack.append(tag)

    def handle_endtag(self, tag):
        while self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.stack):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made():
    return fixtures.documents(40)


@pytest.fixture(scope="module")
def run_page(made, tmp_path_factory):
    path = write_report(fixtures.write_run(tmp_path_factory.mktemp("report") / "run", made))
    assert path.name == "report.html"
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def audit_page(made, tmp_path_factory):
    return render_report(Documents(tmp_path_factory.mktemp("audit"), made["before"]))


def test_nothing_is_loaded_from_outside(run_page):
    urls = Page(run_page).urls
    assert urls
    assert all(url.startswith(("data:image/svg+xml;base64,", "#")) for url in urls)
    style = re.search(r"<style>(.*?)</style>", run_page, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_exactly_the_own_script_and_style(run_page):
    policy = next(a["content"] for tag, a in Page(run_page).tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", run_page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any(
        "style" in a or any(k.startswith("on") for k in a) for _, a in Page(run_page).tags
    )


def test_a_run_shows_scores_splits_edit_and_ability(run_page, made):
    text = Page(run_page).text
    before, after = made["before"], made["after"]
    assert f"from {before['fb_score']:.1f} to {after['fb_score']:.1f} points" in text
    assert f"{before['fb_score']:.1f} → after the edit {after['fb_score']:.1f}" in text
    for words in (
        "unseen templates",
        "HumanEval, pass@1",
        "48,731",
        made["edit"]["command"],
        "one country in one year",
        "do not reproduce the paper's numbers",
        "ask for values that the edit had never seen",
        made["before"]["prompts_digest"],
    ):
        assert words in text
    assert text.count("95% interval") >= 2


def test_one_audit_speaks_of_no_edit(audit_page, made):
    page = Page(audit_page)
    assert f"FB-Score {made['before']['fb_score']:.1f}" in page.text
    for words in ("women, before", "The edit", "Coding ability", "carries over"):
        assert words not in page.text
    assert "#edit" not in page.urls
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == 4  # groups, templates, histogram, heat map; the page draws the shares
    assert all(image["alt"] for image in images)


@pytest.mark.parametrize("page", ["run_page", "audit_page"])
def test_nothing_is_empty(page, request):
    text = Page(request.getfixturevalue(page)).text
    assert not re.search(r"\b(None|nan|NaN|undefined|inf)\b", text)
    assert "()" not in text


def test_every_profession_is_in_the_table(run_page, made):
    cells = re.findall(r'<th scope="row" data-value="([^"]*)">', run_page)
    assert {row["profession"] for row in made["before"]["professions"]} <= set(cells)


def test_hostile_text_stays_text(made, tmp_path):
    audit = copy.deepcopy(made["before"])
    audit["professions"][0].update(profession=HOSTILE, group=HOSTILE)
    audit["model"]["id"] = HOSTILE
    audit["warnings"] = [HOSTILE]
    for row in audit["examples"]:
        row.update(prompt=HOSTILE, template=HOSTILE, female=[HOSTILE])
    audit["examples"][0].update(profession=HOSTILE)
    audit["by_template"][0]["template"] = HOSTILE
    audit["dataset"]["reference"] = HOSTILE
    page = Page(render_report(Documents(tmp_path, audit)))
    scripts = [a for tag, a in page.tags if tag == "script"]
    assert [a.get("type") for a in scripts] == ["application/json", None]
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert HOSTILE in page.text


def test_optional_parts_may_be_missing(made, tmp_path):
    audit = copy.deepcopy(made["before"])
    audit.update(amplification=None, warnings=[], patch=None)
    audit["model"].update(revision=None, id="/home/me/models/tiny")
    audit.update(by_template_group=[], by_template=[], by_polarity=[])
    for row in audit["professions"]:
        del row["group"], row["occupation"], row["estimate"], row["ci95"]
    del audit["shifted"], audit["examples"], audit["by_language"]
    page = Page(render_report(Documents(tmp_path, audit)))
    assert "Amplification" not in page.text
    assert "/home/me" not in page.text
    assert "None" not in page.text


def test_a_run_without_ability_or_splits(made, tmp_path):
    edit = copy.deepcopy(made["edit"])
    edit.update(splits={})
    text = Page(render_report(Documents(tmp_path, made["before"], made["after"], edit))).text
    assert "Coding ability" not in text
    assert "carries over" not in text


def test_an_unknown_directory_is_refused(tmp_path):
    with pytest.raises(BiasEditError, match="neither a run nor an audit"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_figures_follow_the_colour_scheme_and_coloured_cells_do_not(run_page):
    images = [
        base64.b64decode(value.partition("base64,")[2]).decode()
        for value in Page(run_page).urls
        if value.startswith("data:")
    ]
    assert len(images) == 8
    for svg in images:
        assert svg.count("prefers-color-scheme: dark") == 1
        assert "fill: #222222" in svg  # ink, which a rule turns round
    cells = next(svg for svg in images if "#fefefe" in svg.split("</style>")[-1].lower())
    assert '"fill: #fefefe"' not in cells.partition("</style>")[0].lower()


def test_every_point_leads_to_its_row(run_page, made):
    links = re.findall(
        r'<a href="#(p\d+)" tabindex="-1"><circle[^>]*><title>([^:]*): ([^<]*)', run_page
    )
    names = dict(re.findall(r'<tr id="(p\d+)"><th scope="row" data-value="([^"]*)"', run_page))
    assert len(links) == 2 * len(names) == 2 * len(made["before"]["professions"])
    assert all(names[row] == name for row, name, _ in links)
    assert all("in the model" in tip and "in the reference" in tip for _, _, tip in links)


def test_the_table_begins_with_the_highest_estimate(audit_page, made):
    names = re.findall(r'<tr id="p\d+"><th scope="row" data-value="([^"]*)"', audit_page)
    rows = sorted(made["before"]["professions"], key=lambda row: -row["estimate"])
    assert names == [row["profession"] for row in rows]
