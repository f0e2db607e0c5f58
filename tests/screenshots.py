"""Pictures of a report for the README: python -m tests.screenshots REPORT.html FOLDER."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser import open_browser

# Name, width, height, theme, id of what is shown at the top, what is typed into the search.
PICTURES = (
    ("report-light", 1360, 1060, "light", "top", ""),
    ("report-map-dark", 1360, 1060, "dark", "map-main", ""),
    ("report-phone", 390, 844, "light", "top", "baby"),
)


def write(report: Path, folder: Path) -> None:
    """Write the pictures of a report into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile)) as browser:
        for name, width, height, theme, at, typed in PICTURES:
            browser.show(report.resolve(), width, height, theme)
            if typed:
                browser.ask("document.querySelector('.menu-button').click()")
                browser.ask("document.getElementById('q').focus()")
                browser.press(typed)
            browser.ask("document.getElementById(arguments[0]).scrollIntoView()", at)
            browser.wait("return new Promise((drawn) => requestAnimationFrame(() => drawn(true)))")
            browser.picture(folder / f"{name}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
