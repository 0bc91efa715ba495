"""The page in a real browser: click, filter, keyboard, live changes, small and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser, resized, said
from waiting import becomes, eventually

from integration.picture.conftest import Served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    with browser() as found:
        yield found


class Page:
    """The page as a person sees it."""

    def __init__(self, chromium: Chrome, served: Served) -> None:
        self.chromium, self.served = chromium, served
        resized(chromium, 1280, 900)
        chromium.get(served.url)
        becomes(lambda: self.text(".live"), "live")

    def find(self, css: str) -> list[WebElement]:
        found: list[WebElement] = self.chromium.find_elements("css selector", css)
        return found

    def text(self, css: str) -> str:
        """The text of an element; it may be replaced meanwhile, so the browser is asked once."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.textContent : ''"
        return str(self.run(script, css))

    def run(self, script: str, *values: object) -> Any:
        return self.chromium.execute_script(script, *values)

    def pods(self) -> list[str]:
        script = "return [...document.querySelectorAll('a[data-pod] .title')].map(e => e.innerHTML)"
        return [str(each).partition("<")[0] for each in self.run(script)]

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.chromium).send_keys(*keys).perform()

    def click(self, css: str) -> None:
        """Click by the pointer in the middle of an element."""
        from selenium.webdriver import ActionChains

        (element,) = self.find(css)
        ActionChains(self.chromium).move_to_element(element).click().perform()


@pytest.fixture
def page(chromium: Chrome, served: Served) -> Iterator[Callable[[], Page]]:
    """Opens the page; nothing may have been refused or gone wrong in it at the end."""
    yield lambda: Page(chromium, served)
    log = [each for each in said(chromium) if each["level"] in ("SEVERE", "WARNING")]
    # The next test's node is another one; this one's page must not ask it.
    chromium.get("about:blank")
    assert log == []


def test_a_click_shows_a_pod_and_its_lines_and_escape_closes_it(
    served: Served, page: Callable[[], Page]
) -> None:
    container = served.attach("web-0", "bridge", "macvlan").id
    served.attach("db-0", "ptp")
    shown = page()
    becomes(shown.pods, ["shop/db-0", "shop/web-0"])
    shown.click(f"a[data-pod='{container}'] .title")
    eventually(lambda: "10.88.0.2/24" in shown.text("#details"))
    assert "storage" in shown.text("#details")
    assert f"chosen={container}" in shown.chromium.current_url
    chosen = [str(each.get_attribute("data-parent")) for each in shown.find(".line.chosen")]
    assert sorted(chosen) == ["link br0", "link uplink"]
    shown.press("\ue00c")
    becomes(lambda: shown.text("#details"), "")
    assert "chosen" not in shown.chromium.current_url


def test_the_filter_leaves_what_is_asked_for(served: Served, page: Callable[[], Page]) -> None:
    served.attach("web-0", "bridge")
    served.attach("db-0", "ptp")
    shown = page()
    becomes(lambda: len(shown.pods()), 2)
    shown.press("/")
    shown.press("WEB")
    becomes(shown.pods, ["shop/web-0"])
    becomes(lambda: shown.text("#summary"), "1 pod, 1 interface of 2 pods, 2 interfaces")
    assert len(shown.find("#requests details")) == 1
    assert "pod=WEB" in shown.chromium.current_url
    shown.click("form .all")
    becomes(lambda: len(shown.pods()), 2)
    shown.run(
        "const n = document.querySelector('[name=network]'); n.value = 'control';"
        "n.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    becomes(shown.pods, ["shop/db-0"])
    # The address says it all: another window shows the same.
    shown.chromium.refresh()
    becomes(shown.pods, ["shop/db-0"])


def test_it_can_be_used_by_the_keyboard_alone(served: Served, page: Callable[[], Page]) -> None:
    served.attach("web-0", "bridge", "macvlan")
    shown = page()
    becomes(shown.pods, ["shop/web-0"])
    focused = "return document.activeElement.getAttribute(arguments[0])"
    for _ in range(12):
        shown.press("\ue004")
        if shown.run(focused, "data-pod"):
            break
    becomes(lambda: len(shown.find(".line.lit")), 2)
    shown.press("\ue007")
    eventually(lambda: "10.88.0.2/24" in shown.text("#details"))
    # A change draws the picture again; the focus stays.
    served.attach("web-1", "bridge")
    becomes(shown.pods, ["shop/web-0", "shop/web-1"])
    assert shown.run(focused, "data-pod")
    for _ in range(12):
        shown.press("\ue004")
        if str(shown.run(focused, "data-key")).startswith("s"):
            break
    shown.press("\ue007")
    becomes(lambda: len(shown.find("details[open]")), 1)
    assert "invoke" in shown.text("details[open]")


def test_what_changes_on_the_node_appears_by_itself(
    served: Served, page: Callable[[], Page]
) -> None:
    shown = page()
    assert "No pod is attached" in shown.text("#picture")
    served.attach("web-0", "bridge")
    becomes(shown.pods, ["shop/web-0"])
    # What can be chosen follows, too.
    becomes(lambda: shown.text("#network"), "alllan")
    becomes(lambda: len(shown.find("#requests details")), 1)


def test_on_a_phone_nothing_is_wider_than_the_page(
    served: Served, page: Callable[[], Page]
) -> None:
    served.attach("web-0-with-a-rather-long-name-7c5ddbdf54-abcde", "bridge", "macvlan", "ptp")
    shown = page()
    for dark in (False, True):
        resized(shown.chromium, 390, 844, dark=dark)
        becomes(
            lambda: int(shown.run("return document.querySelector('.picture').clientWidth")) <= 382,
            True,
        )
        width = shown.run("return document.documentElement.scrollWidth")
        assert width == 390
    paper = shown.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(20, 23, 27)"


def test_a_tenants_name_is_text_and_not_a_part_of_the_page(
    served: Served, page: Callable[[], Page]
) -> None:
    served.attach(HOSTILE, "bridge")
    shown = page()
    becomes(shown.pods, [f"shop/{HOSTILE}".replace("<", "&lt;").replace(">", "&gt;")])
    assert shown.find("#picture img, #requests img") == []
