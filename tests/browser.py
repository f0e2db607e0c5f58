"""Debian's Chromium, headless and without a network, for tests that look at a page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

MISSING = "needs Chromium: apt-get install chromium chromium-driver"
# No sandbox: containers run as root. The others keep it from calling home.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)


def is_installed() -> bool:
    """Whether the browser and its driver are here."""
    return all(shutil.which(program) for program in ("chromium", "chromedriver"))


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile and no network; it is closed at the end.

    Args:
        profile: Folder for its files.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        browser = Browser(driver)
        browser.tell("Network.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        browser.tell("Network.emulateNetworkConditions", **offline)
        yield browser
    finally:
        driver.quit()


class Browser:
    """One page in a browser.

    Args:
        driver: The browser.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def tell(self, command: str, **values: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, values)

    def show(self, page: Path, width: int = 1280, height: int = 900, theme: str = "light") -> None:
        """Open a page from disk in a window of that size, for a reader of that theme."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.tell("Emulation.setEmulatedMedia", features=[feature])
        self.driver.get("about:blank")
        self.driver.get(page.as_uri())

    def ask(self, script: str, *values: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *values)

    def wait(self, script: str, seconds: float = 2) -> None:
        """Wait until a script returns something true."""
        WebDriverWait(self.driver, seconds, 0.05).until(lambda d: d.execute_script(script))

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def picture(self, path: Path) -> None:
        """Write what the window shows as a PNG file."""
        shown = self.tell("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shown["data"]))
