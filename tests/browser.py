"""A headless Chromium, driven by Selenium, with what a person does on a page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tools.screenshots.browser import NoBrowser, program

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@contextmanager
def browser() -> Iterator[Chrome]:
    """A browser with an empty profile; the test is skipped where there is none."""
    driver = shutil.which("chromedriver")
    try:
        path = program()
    except NoBrowser:
        path = ""
    if not path or driver is None:
        pytest.skip("chromium and its driver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = path
    with tempfile.TemporaryDirectory(prefix="multus-browser-") as profile:
        for each in (
            "--headless=new",
            "--no-sandbox",  # root has none
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(each)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        found = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            yield found
        finally:
            found.quit()


def said(found: Chrome) -> list[dict[str, Any]]:
    """What the browser has logged since it was asked last: errors, and what it refused."""
    log: list[dict[str, Any]] = found.get_log("browser")  # type: ignore[no-untyped-call]
    return log


def resized(found: Chrome, width: int, height: int, *, dark: bool = False) -> None:
    """Give the page this size in CSS pixels, and the reader's preference of a colour scheme."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    found.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    found.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
