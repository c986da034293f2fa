"""The learning report in a browser: nothing is said on the console, nothing loaded, nothing wider than the screen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from reported_search import HOSTILE, search

from dspex_ray.store import Store


@pytest.fixture
def sync_playwright() -> Any:
    return pytest.importorskip("playwright.sync_api", reason="it takes playwright to drive a browser").sync_playwright


@contextmanager
def opened(sync_playwright: Any, **screen: Any) -> Iterator[Any]:
    """Open an empty page without a network; the browser has an event loop of its own in this thread until it ends."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser.new_context(offline=True, **screen).new_page()
        browser.close()


@pytest.mark.parametrize(
    ("width", "scheme", "objectives"), [(1280, "light", ("score",)), (390, "dark", ("score", "cost_usd"))]
)
def test_a_page_of_hostile_answers_opens_without_a_word_on_the_console(
    sync_playwright: Any, store: Store, tmp_path: Path, width: int, scheme: str, objectives: tuple[str, ...]
) -> None:
    place = search(store, high=0.3, trials=3, objectives=objectives).report(tmp_path / "report.html")
    said: list[str] = []
    asked: list[str] = []
    with opened(sync_playwright, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(place.as_uri())
        assert asked == [place.as_uri()]
        assert page.title().startswith("What run-")
        assert HOSTILE in page.inner_text("body")
        assert page.locator("script, img, iframe, link").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("th:not([scope])").count() == 0
        assert page.get_by_role("img", name="The best score so far against model calls").count() == 1
        assert page.get_by_role("heading", name="Front", exact=True).count() == len(objectives) - 1
        assert page.get_by_role("heading", level=1).count() == 1
        page.emulate_media(media="print")
        values = page.locator("details").last
        assert values.evaluate("one => one.open || getComputedStyle(one, '::details-content').contentVisibility") in (
            True,
            "visible",
        )
    assert said == []
