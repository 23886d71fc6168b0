"""The report in a real browser: sorting, searching, keyboard, no requests, narrow windows."""

from __future__ import annotations

import copy
import shutil

import pytest

from hfbiasedit.reports.html import write_report
from tests.reports import fixtures

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    pytest.skip("needs Chromium and chromedriver on the PATH", allow_module_level=True)
pytest.importorskip("selenium")

HOSTILE = "<img src=x onerror=document.title='owned'>"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def made():
    documents = fixtures.documents(270)
    for side in ("before", "after"):
        documents[side]["professions"][5]["profession"] = HOSTILE
    return documents


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(made, tmp_path_factory):
    return write_report(fixtures.write_run(tmp_path_factory.mktemp("browser") / "run", made))


@pytest.fixture
def page(browser, report):
    browser.set_window_size(1280, 900)
    browser.get(report.as_uri())
    return browser


def column(page, heading):
    """The values of a column of the profession table, visible rows only."""
    return page.execute_script(
        """
        const table = document.getElementById("profession-table");
        const place = [...table.tHead.rows[0].cells].findIndex(
          (cell) => cell.innerText.trim() === arguments[0]);
        return [...table.tBodies[0].rows].filter((row) => row.offsetParent !== null)
          .map((row) => row.cells[place].dataset.value);
        """,
        heading,
    )


def press(page, heading):
    from selenium.webdriver.common.by import By

    xpath = f"//table[@id='profession-table']//button[normalize-space()='{heading}']"
    button = page.find_element(By.XPATH, xpath)
    page.execute_script("arguments[0].click()", button)
    return button.find_element(By.XPATH, "..").get_attribute("aria-sort")


def search(page, text):
    from selenium.webdriver.common.by import By

    field = page.find_element(By.ID, "search")
    field.clear()
    field.send_keys(text)
    return page.find_element(By.ID, "found").text


def test_sorting_by_number_and_by_name(page, made):
    wanted = sorted((row["share_female"] for row in made["before"]["professions"]), reverse=True)
    assert press(page, "women, reference") == "descending"
    assert [float(value) for value in column(page, "women, reference")] == wanted
    assert press(page, "women, reference") == "ascending"
    assert [float(value) for value in column(page, "women, reference")] == wanted[::-1]
    assert press(page, "profession") == "ascending"
    names = column(page, "profession")
    assert len(names) == 270
    assert names[1:] == sorted(names[1:])  # the hostile one begins with a bracket
    marks = page.execute_script(
        "return [...document.querySelectorAll('#profession-table th[aria-sort]')]"
        ".map((cell) => cell.getAttribute('aria-sort')).filter((order) => order !== 'none')"
    )
    assert marks == ["ascending"]


def test_negative_changes_sort_as_numbers(page):
    press(page, "change of FB")
    values = [float(value) for value in column(page, "change of FB")]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0 > values[-1]


def test_searching_for_words_of_name_and_group(page, made):
    assert search(page, "nurse") == "18 of 270 professions"
    assert all("nurse" in name for name in column(page, "profession"))
    group = next(
        r["group"] for r in made["before"]["professions"] if r["profession"] == "bank nurse"
    )
    assert search(page, f"BANK {group.lower()}") != "270 of 270 professions"
    assert "bank nurse" in column(page, "profession")
    assert search(page, "no such thing") == "0 of 270 professions"
    assert column(page, "profession") == []


def test_a_search_survives_sorting(page):
    search(page, "hotel")
    press(page, "prompts")
    assert len(column(page, "profession")) == 15


def test_the_keyboard_reaches_and_presses_the_headings(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.find_element(By.ID, "search").send_keys(Keys.TAB)  # to the scrolling region
    page.switch_to.active_element.send_keys(Keys.TAB)
    heading = page.switch_to.active_element
    assert heading.tag_name == "button"
    assert heading.text == "profession"
    heading.send_keys(Keys.ENTER)
    names = column(page, "profession")
    assert names[1:] == sorted(names[1:])


def test_breakdowns_sort_on_their_own(page):
    order = page.execute_script(
        """
        const table = document.querySelector("#breakdowns table");
        table.querySelector("button").click();
        return [...table.tBodies[0].rows].map((row) => row.cells[0].dataset.value);
        """
    )
    assert order == ["negative", "neutral", "positive"]
    assert float(column(page, "FB after")[0]) == max(map(float, column(page, "FB after")))


def test_no_request_no_error_no_injection(page):
    assert page.title == "acme/tiny-coder"
    assert (
        page.execute_script(
            "return performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith('data:')).length"
        )
        == 0
    )
    assert [entry for entry in page.get_log("browser") if "favicon" not in entry["message"]] == []
    assert (
        page.execute_script("return document.querySelectorAll('#profession-table img').length") == 0
    )


def test_every_figure_is_shown(page):
    widths = page.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 7
    assert all(width > 100 for width in widths)


def test_a_narrow_window_scrolls_tables_and_not_the_page(page):
    page.set_window_size(500, 900)
    inner, content = page.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    )
    assert content <= inner


def test_a_single_audit_sorts_too(browser, made, tmp_path):
    audit = copy.deepcopy(made["before"])
    browser.get(write_report(fixtures.write_audit(tmp_path / "audit", audit)).as_uri())
    assert press(browser, "lean") == "descending"
    values = [float(value) for value in column(browser, "lean")]
    assert values == sorted(values, reverse=True)
    assert [
        entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]
    ] == []
