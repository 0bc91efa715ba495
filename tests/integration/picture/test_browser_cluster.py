"""The page of a cluster in a real browser, served by ``multus serve --kubeconfig``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser, resized, said
from waiting import PATIENCE, becomes

from multus.picture.cluster.reading import ASKED, STATUS
from multus.testing.apiserver import ApiServer

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "ip-10-0-121-204.eu-central-1.compute.internal"


def create(api: ApiServer, name: str, node: str, **networks: str) -> None:
    entries = [
        {"name": network, "interface": f"net{number}", "ips": [address]}
        for number, (network, address) in enumerate(networks.items())
    ]
    api.create_pod(name, {STATUS: json.dumps(entries)}, namespace="shop", node=node)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chrome, str]]:
    """A browser, and the URL of the page of a small cluster with two problems."""
    with browser() as chromium, ApiServer() as api:
        create(api, "web", LONG, lan="10.1.0.2", storage="10.9.0.2")
        create(api, "db", "node-b", lan="10.1.0.3", storage="10.9.0.2")
        create(api, HOSTILE, "node-b", lan="10.1.0.4")
        api.create_pod("new", {ASKED: "storage"}, namespace="shop", node="node-b")
        kubeconfig = api.write_kubeconfig(tmp_path_factory.mktemp("cluster"))
        argv = [sys.executable, "-m", "multus", "serve", "--address", "127.0.0.1:0"]
        with subprocess.Popen(
            [*argv, "--kubeconfig", kubeconfig], stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            try:
                yield chromium, server.stdout.readline().strip()
            finally:
                server.terminate()
                assert server.wait(PATIENCE) == 0


@pytest.fixture
def page(shown: tuple[Chrome, str]) -> Iterator[Chrome]:
    """The page, read from the cluster; nothing may have gone wrong in it at the end."""
    chromium, url = shown
    resized(chromium, 1280, 900)
    chromium.get(url)
    becomes(lambda: count(chromium, "#addresses tbody tr"), 5)
    yield chromium
    assert [each for each in said(chromium) if each["level"] in ("SEVERE", "WARNING")] == []


def run(page: Chrome, script: str, *values: object) -> Any:
    return page.execute_script(script, *values)


def count(page: Chrome, css: str) -> int:
    return int(run(page, "return document.querySelectorAll(arguments[0]).length", css))


def click(page: Chrome, css: str) -> None:
    """Find and click at once: the page may replace the element in between."""
    run(page, "document.querySelector(arguments[0]).click()", css)


def text(page: Chrome, css: str) -> str:
    script = "const e = document.querySelector(arguments[0]); return e ? e.textContent : ''"
    return str(run(page, script, css))


def test_what_is_wrong_comes_first(page: Chrome) -> None:
    assert text(page, "#problems h2") == "2 to look at"
    assert "10.9.0.2" in text(page, ".problems li")
    assert count(page, ".problems img") == 0


def test_a_count_shows_its_addresses_and_all_shows_all(page: Chrome) -> None:
    click(page, "#picture tbody tr:last-child td a")
    becomes(lambda: count(page, "#addresses tbody tr"), 2)
    click(page, "form a.all")
    becomes(lambda: count(page, "#addresses tbody tr"), 5)


def test_a_pod_opens_by_the_keyboard_and_escape_closes_it(page: Chrome) -> None:
    from selenium.webdriver import ActionChains, Keys

    run(page, "document.querySelector('#addresses a[data-pod=\"shop/db\"]').focus()")
    ActionChains(page).send_keys(Keys.ENTER).perform()
    becomes(lambda: text(page, "#details h2"), "shop/db")
    assert "storage" in text(page, "#details")
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    becomes(lambda: count(page, "#details h2"), 0)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_down_and_not_sideways(page: Chrome, dark: bool) -> None:
    resized(page, 390, 844, dark=dark)
    script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    becomes(lambda: run(page, script), 0)
    assert count(page, ".matrix th") > 0
