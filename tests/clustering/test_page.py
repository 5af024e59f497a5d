"""The report in a real browser, offline: it loads, moves, filters, and runs no text as code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inbedder_retrieval import Document
from inbedder_retrieval.cluster import cluster
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.mapping import layout
from inbedder_retrieval.report import write_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)

VIEWS = ("product", "feeling")
EVIL = (
    "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
)
SCHEMES = [
    {"color_scheme": scheme, "viewport": {"width": 900, "height": 600}}
    for scheme in ("light", "dark")
]


def chromium() -> str | None:
    """Return an installed Chromium, or None where playwright may have one of its own."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        options = {"args": ["--no-sandbox"], "executable_path": chromium()}
        try:
            found = started.chromium.launch(**options)
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(demo: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = [Document(EVIL, id=demo.documents[0].id), *demo.documents[1:]]
    corpus = Corpus(documents, demo.views, demo.vectors, demo.embedder)
    found = [cluster(corpus, name, k=5) for name in VIEWS]
    maps = {name: layout(corpus.of(name)) for name in VIEWS}
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, corpus, found, maps, title="Messages <b>")
    return path


@pytest.fixture
def page(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened without a network; whatever it complains of fails the test."""
    given = getattr(request, "param", {"viewport": {"width": 1200, "height": 800}})
    context = browser.new_context(offline=True, **given)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_selector(".cluster")
    yield page
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def drawn(page: Any) -> list[int]:
    """Return the colours of every 97th pixel of the map."""
    found: list[int] = page.evaluate(
        "() => { const c = document.getElementById('map');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "return Array.from(d).filter((_, k) => k % 97 === 0); }"
    )
    return found


def ring(page: Any) -> tuple[float, float]:
    box = page.locator("#ring").bounding_box()
    return box["x"], box["y"]


def test_it_loads_and_runs_no_text_as_code(page: Any) -> None:
    assert page.title() == "Messages <b>"
    assert page.locator("h1").inner_text() == "Messages <b>"
    assert page.locator(".cluster").count() == 5
    assert page.locator("#count").inner_text() == "375 documents"
    assert page.locator("img").count() == 0
    page.fill("#search", "onerror")
    playwright.expect(page.locator(".document")).to_have_count(1)
    assert EVIL in page.locator(".document").inner_text()
    page.wait_for_timeout(800)
    assert len(set(drawn(page))) > 5


def test_switching_views_moves_points_and_changes_the_clusters(page: Any) -> None:
    page.locator(".document").nth(3).hover()
    before, names = ring(page), page.locator("#clusters").inner_text()
    pixels = drawn(page)
    page.locator("#views").get_by_role("radio", name="feeling").click()
    page.wait_for_timeout(1_500)
    after = ring(page)
    assert np.hypot(after[0] - before[0], after[1] - before[1]) > 10
    assert page.locator("#clusters").inner_text() != names
    assert page.locator("#question").inner_text() == "How does the customer feel?"
    assert drawn(page) != pixels


def test_a_click_on_a_cluster_filters_and_another_shows_all(page: Any) -> None:
    first = page.locator(".cluster").first
    size = int(first.locator(".soft").inner_text())
    name = first.locator("span").first.inner_text()
    page.wait_for_timeout(300)
    pixels = drawn(page)
    first.click()
    assert page.locator("#count").inner_text() == f"{size} of 375 documents"
    assert first.get_attribute("aria-pressed") == "true"
    for text in page.locator(".document").all_inner_texts():
        assert f"({name})" in text
    page.wait_for_timeout(300)
    assert drawn(page) != pixels
    page.locator(".cluster").first.click()
    assert page.locator("#count").inner_text() == "375 documents"


def test_a_cell_of_the_cross_table_leads_to_its_documents(page: Any) -> None:
    cell = page.locator("#table button").nth(7)
    count = int(cell.inner_text().split()[0])
    cell.click()
    assert page.locator("#count").inner_text() == f"{count} of 375 documents"
    assert page.locator(".document").count() == min(count, 40)


def test_the_map_shows_the_text_under_the_pointer(page: Any) -> None:
    page.locator(".document").nth(3).hover()
    text = page.locator(".document").nth(3).locator("p").first.inner_text()
    left, top = ring(page)
    page.mouse.move(left + 11, top + 11)
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    assert tip.inner_text().startswith(text[:40])
    assert "product:" in tip.inner_text()
    assert "feeling:" in tip.inner_text()


def test_the_keyboard_is_enough(page: Any) -> None:
    page.locator("#map").focus()
    pixels = drawn(page)
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert drawn(page) != pixels
    page.keyboard.press("0")
    page.wait_for_timeout(300)
    page.locator(".cluster").nth(1).focus()
    page.keyboard.press("Enter")
    assert "of 375" in page.locator("#count").inner_text()
    focused = "document.activeElement.classList.contains('cluster')"
    assert page.evaluate(focused)
    page.keyboard.press("Escape")
    assert page.locator("#count").inner_text() == "375 documents"
    page.locator("#views input").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#question").inner_text() == "How does the customer feel?"


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#map").bounding_box()["height"] > 400
    page.locator(".cluster").first.tap()
    assert "of 375" in page.locator("#count").inner_text()


@pytest.mark.parametrize("page", SCHEMES, indirect=True, ids=["light", "dark"])
def test_the_page_is_light_or_dark_as_the_reader_is(page: Any) -> None:
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    page.wait_for_timeout(300)
    corner = page.evaluate(
        "Array.from(document.getElementById('map').getContext('2d').getImageData(1, 1, 1, 1).data)"
    )
    assert (sum(corner[:3]) < 200) == dark
