"""The report in a real browser: sorting, searching, keyboard, no requests, narrow windows."""

from __future__ import annotations

import copy
import re
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
        name = documents[side]["professions"][5]["profession"]
        documents[side]["professions"][5]["profession"] = HOSTILE
        for row in documents[side]["examples"]:
            if row["profession"] == name:
                row.update(profession=HOSTILE, prompt=HOSTILE)
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
    nothing = "document.getElementById('nothing').innerText"
    assert page.execute_script(f"return {nothing}") == ""
    assert search(page, "no such thing") == "0 of 270 professions"
    assert column(page, "profession") == []
    assert "holds “no such thing”" in page.execute_script(f"return {nothing}")
    search(page, "nurse")
    assert page.execute_script(f"return {nothing}") == ""


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
    assert order == sorted(order)
    estimates = column(page, "estimate after")
    assert float(estimates[0]) == max(map(float, estimates))


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
    assert len(widths) == 8
    assert all(width > 100 for width in widths)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_and_its_figures_fit_the_window(page, width):
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        inner, content, widest = page.execute_script(
            """
            const shown = [...document.querySelectorAll("img, svg, .prompt, .first > *")];
            const root = document.documentElement;
            const ends = shown.map((one) => one.getBoundingClientRect().right);
            return [root.clientWidth, root.scrollWidth, Math.max(...ends)];
            """
        )
        assert inner <= width
        assert content <= inner
        assert widest <= inner
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def contrast(one, other):
    """The ratio of WCAG 2 of two colours `rgb(r, g, b)`."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        ground, *texts = page.execute_script(
            """
            const style = (chosen) => getComputedStyle(document.querySelector(chosen));
            return [style("body").backgroundColor,
              ...["body", ".note", ".interval", "nav a", ".better", ".open"]
                .map((chosen) => style(chosen).color), style(".scale .label").fill];
            """
        )
        assert (contrast(ground, "rgb(0, 0, 0)") < 2) == (scheme == "dark")
        assert all(contrast(ground, colour) >= 4.5 for colour in texts)
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_drawer_shows_the_prompts_of_a_profession_with_both_probabilities(page, made):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    name = "bank nurse"
    xpath = f"//table[@id='profession-table']//button[normalize-space()='{name}']"
    page.execute_script("arguments[0].click()", page.find_element(By.XPATH, xpath))
    drawer = page.find_element(By.ID, "drawer")
    assert drawer.is_displayed()
    assert page.find_element(By.ID, "drawer-title").text == name
    mine = [row for row in made["before"]["examples"] if row["profession"] == name]
    codes = [code.text for code in drawer.find_elements(By.CSS_SELECTOR, "pre code")]
    assert codes == [row["prompt"].rstrip() for row in mine]
    assert f"{len(mine)} of the 108 prompts" in page.find_element(By.ID, "drawer-facts").text
    first = drawer.find_element(By.CSS_SELECTOR, ".odds tbody")
    after = {row["id"]: row for row in made["after"]["examples"]}[mine[0]["id"]]
    cells = [cell.text for cell in first.find_elements(By.CSS_SELECTOR, "td")]
    shares = [(row["p_female"], row["p_male"], row["model_share"]) for row in (mine[0], after)]
    for shown, share in zip([*cells[:3], *cells[4:7]], [*shares[0], *shares[1]], strict=True):
        assert float(shown.rstrip("%")) == pytest.approx(100 * share, abs=0.051)
    assert page.switch_to.active_element.text == "Close"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not drawer.is_displayed()
    assert page.switch_to.active_element.text == name


def test_a_drawer_shows_hostile_text_as_text(page):
    page.execute_script(
        "[...document.querySelectorAll('.open')].find((b) => b.textContent.startsWith('<img')).click()"
    )
    assert HOSTILE in page.execute_script(
        "return document.getElementById('drawer-prompts').textContent"
    )
    assert page.execute_script("return document.querySelectorAll('#drawer img').length") == 0
    assert page.title == "acme/tiny-coder"


def test_a_point_shows_a_tip_and_leads_to_its_row(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    search(page, "no such thing")
    link = page.find_elements(By.CSS_SELECTOR, ".scatter.after a")[40]
    point = link.find_element(By.TAG_NAME, "circle")
    # Scrolling hides a tip, and the page hears of it with the next frame: not before the one after.
    page.execute_async_script(
        "arguments[0].scrollIntoView({block: 'center'});"
        "requestAnimationFrame(() => requestAnimationFrame(arguments[1]))",
        point,
    )
    # Another point may lie on top: the event itself, not the pointer, finds this one.
    page.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerenter'))", point)
    tip = page.find_element(By.ID, "tip")
    assert tip.is_displayed()
    name = tip.text.split(":")[0]
    ActionChains(page).move_by_offset(1, 1).perform()
    page.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))",
        link,
    )
    row = page.find_element(By.CSS_SELECTOR, "#profession-table tr.here")
    assert row.find_element(By.TAG_NAME, "th").text == name
    assert row.is_displayed()  # the search that hid it is gone
    assert page.switch_to.active_element.text == name
    marked = page.execute_script("return document.querySelectorAll('.point.here').length")
    assert marked == 2  # before and after


def test_a_single_audit_sorts_too(browser, made, tmp_path):
    audit = copy.deepcopy(made["before"])
    browser.get(write_report(fixtures.write_audit(tmp_path / "audit", audit)).as_uri())
    assert press(browser, "lean") == "descending"
    values = [float(value) for value in column(browser, "lean")]
    assert values == sorted(values, reverse=True)
    assert [
        entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]
    ] == []
