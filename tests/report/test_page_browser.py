"""The HTML report in a browser: it is whole without a network, its tables sort and filter, its figures are drawn."""

import shutil

import pytest

from jacexp.report.page.content import page_of
from jacexp.report.page.render import render
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store
from jacexp.results import tidy

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FMNIST = EXPERIMENTS["P2"][2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
]


@pytest.fixture
def opened(tables, tmp_path):
    """The page of a sweep in a browser, and what it asked for or complained about."""
    sync_api = pytest.importorskip("playwright.sync_api")
    for seed in range(3):
        for lam in (1e-4, 0.01, 0.1):
            run = tables.run(FMNIST, "spec", seed, lam=lam, test=0.8 + lam + seed / 100, protocol="own")
            tables.curve(run, "white_noise", {0: 0.9, 0.5: 0.5 + seed / 10}, variable="sigma")
    store = read_store(tables.write(tmp_path))
    path = tmp_path / "report.html"
    path.write_text(render(page_of(store, *tidy(store))), encoding="utf-8")
    events = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda r: events.append(r.url))
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.goto(path.as_uri())
        yield page, events
        assert events == [path.as_uri()]
        browser.close()


def column(page, section, number):
    cells = f"{section} tbody tr:not([hidden]) > :nth-child({number})"
    return page.locator(cells).all_inner_texts()


def test_a_table_is_sorted_by_a_heading_and_filtered_by_words(opened):
    page, _ = opened
    strength = page.locator("#runs thead button", has_text="strength")
    strength.focus()
    page.keyboard.press("Enter")
    assert column(page, "#runs", 5) == ["0.0001"] * 3 + ["0.01"] * 3 + ["0.1"] * 3
    page.keyboard.press("Enter")
    assert column(page, "#runs", 5)[0] == "0.1"
    page.locator("#runs .filter input").fill("0.0001 spec")
    assert column(page, "#runs", 5) == ["0.0001"] * 3
    assert page.locator("#runs .filter [role=status]").inner_text() == "3 of 9 rows"


def test_figures_are_drawn_in_view_and_a_runs_when_a_link_opens_it(opened):
    page, _ = opened
    page.locator(".drawing").first.scroll_into_view_if_needed()
    page.wait_for_selector(".drawing .scatterlayer .trace")
    page.locator("#runs tbody a").first.click()
    page.wait_for_selector(".run[open] .drawings .scatterlayer .trace")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
