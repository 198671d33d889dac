"""A headless Chromium that records the requests and the messages of a page."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
AXE = Path(__file__).with_name("axe-core-4.14.1.tgz")

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Parallel coordinates are drawn with WebGL, which has no hardware here.
    "--enable-unsafe-swiftshader",
)


def missing() -> str:
    """Return the path of a part that is not installed; empty if all are."""
    return next((str(path) for path in (CHROMIUM, DRIVER, AXE) if not Path(path).exists()), "")


def axe_source() -> str:
    """Return the source of axe-core."""
    with tarfile.open(AXE) as archive:
        source = archive.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


class Browser:
    """A tab of a browser.

    Attributes:
        driver: the driver.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        """Load a page from a file, and discard the records of earlier pages."""
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(page.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the value of the body of a function."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str) -> Any:
        """Return the value that a promise is resolved with; the script is an expression."""
        code = (
            f"const end = arguments[arguments.length - 1]; Promise.resolve({script}).then(end, (e) => end(String(e)));"
        )
        return self.driver.execute_async_script(code)

    def prefer(self, theme: str, width: int = 1280) -> None:
        """Set the preferred colors, "light" or "dark", and the width of the window in CSS pixels."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def errors(self) -> list[str]:
        """Return the errors in the console since the page was opened or since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> set[str]:
        """Return the addresses that were requested since the page was opened, without data in the page."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        found = {
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }
        return {url for url in found if not url.startswith(("data:", "blob:"))}


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """Start a browser with a new profile in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
