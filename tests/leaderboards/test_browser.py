"""The leaderboard in a real browser: sorting, filtering, the picture, narrow windows."""

from __future__ import annotations

import shutil

import pytest

from hfbiasedit.leaderboards.writing import leaderboard
from tests.leaderboards import made
from tests.reports import fixtures

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    pytest.skip("needs Chromium and chromedriver on the PATH", allow_module_level=True)
pytest.importorskip("selenium")

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,900")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    root = tmp_path_factory.mktemp("board")
    for number, name in enumerate(("acme/a", "acme/b", "acme/c")):
        audit = made.audit(name, 0.3 - number / 20)
        audit["lean"] = (-3.0, 5.0, 1.0)[number]
        audit["model"]["parameters"] *= number + 1
        beside = made.ability(audit, 1.6 + number / 10) if number else None
        made.write(root / "audits" / str(number), audit, beside)
    fixtures.write_run(root / "audits" / "run", fixtures.documents(60))
    leaderboard([root / "audits"], out=root / "board")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={root / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get((root / "board" / "index.html").as_uri())
    yield driver
    driver.quit()


def press(page, heading):
    page.execute_script(
        """for (const button of document.querySelectorAll("#models thead button"))
        if (button.textContent === arguments[0]) button.click();""",
        heading,
    )


def column(page, heading):
    return page.execute_script(
        """const table = document.getElementById("models");
        const place = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.trim() === arguments[0]);
        return [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[place].dataset.value);""",
        heading,
    )


def choose(page, element, value):
    page.execute_script(
        """const field = document.getElementById(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input"));""",
        element,
        value,
    )


def visible_points(page):
    return page.execute_script(
        """return [...document.querySelectorAll(".scatter g")].filter(
        (g) => g.getAttribute("visibility") !== "hidden" && !g.closest("figure").hidden).length"""
    )


def test_sorting_puts_what_was_not_measured_last_both_ways(page):
    press(page, "lean")
    values = [float(value) for value in column(page, "lean")]
    assert values == sorted(values)
    for _ in range(2):
        press(page, "bits per byte")
        assert column(page, "bits per byte")[-1] == ""
    press(page, "rank")
    assert column(page, "rank") == ["1", "2", "3", "4", "5"]


def test_filtering_takes_the_points_along(page):
    everything = visible_points(page)
    choose(page, "kind", "edited")
    assert column(page, "model") == ["acme/tiny-coder"]
    assert visible_points(page) == 1 < everything
    choose(page, "kind", "all")
    choose(page, "search", "ACME/b")
    assert column(page, "model") == ["acme/b"]
    choose(page, "search", "nothing of the kind")
    assert page.execute_script("return document.getElementById('found').textContent").startswith(
        "No model fits"
    )
    choose(page, "search", "")
    assert visible_points(page) == everything


def test_one_measure_is_drawn_at_a_time(page):
    choose(page, "measure", "size")
    assert page.execute_script(
        "return [...document.querySelectorAll('[data-measure]')].filter((f) => !f.hidden).map((f) => f.dataset.measure)"
    ) == ["size"]


def test_columns_of_parts_are_sorted_and_filtered(page):
    def shown():
        return page.execute_script(
            """return [...document.querySelectorAll("#languages thead th")].filter((h) => !h.hidden)
            .map((h) => h.querySelector("button").textContent);"""
        )

    everything = shown()
    page.execute_script(
        """const field = document.querySelector("[data-columns=languages]");
        field.value = "SQL"; field.dispatchEvent(new Event("input"));"""
    )
    assert shown() == ["model", "sql"]
    values = page.execute_script(
        """const button = [...document.querySelectorAll("#languages thead button")].find(
            (b) => b.textContent === "sql");
        button.click();
        const cells = [...document.querySelectorAll("#languages tbody td:not([hidden])")];
        return cells.map((cell) => Number(cell.dataset.value));"""
    )
    assert values == sorted(values)
    page.execute_script(
        """const field = document.querySelector("[data-columns=languages]");
        field.value = ""; field.dispatchEvent(new Event("input"));"""
    )
    assert shown() == everything


def test_names_in_the_picture_cover_no_point_and_no_other_name(page):
    page.set_window_size(1280, 900)
    choose(page, "measure", "bits")
    boxes = page.execute_script(
        """const box = (e) => { const r = e.getBoundingClientRect();
            return [r.left, r.top, r.right, r.bottom]; };
        const figure = [...document.querySelectorAll("figure")].find((f) => !f.hidden);
        const all = (what) => [...figure.querySelectorAll(what)].map(box);
        return [all("text.name"), all("circle")];"""
    )
    names, circles = boxes
    assert names

    def apart(one, other):
        return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]

    for number, one in enumerate(names):
        assert all(apart(one, other) for other in [*circles, *names[:number]])


def test_no_request_no_error_and_a_page_that_fits(page):
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    for width in (1280, 390):
        page.set_window_size(width, 900)
        inner, content = page.execute_script(
            "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
        )
        assert content <= inner
    assert [entry for entry in page.get_log("browser") if "favicon" not in entry["message"]] == []
