"""The report of a shop as a reader meets it: in a browser, from disk, without a network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import browser as chromium
from tests.browser import Browser
from tests.end_to_end.conftest import AS_OF

pytestmark = pytest.mark.skipif(not chromium.is_installed(), reason=chromium.MISSING)

PHONE = 375
TAB, ESCAPE, RIGHT, ENTER = "\ue004", "\ue00c", "\ue014", "\ue007"

CONTRASTS = """
const channel = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255)
  + 0.0722 * channel(b / 255);
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const paper = (node) => {
  for (; node; node = node.parentElement) {
    const [r, g, b, a = 1] = numbers(getComputedStyle(node).backgroundColor);
    if (a === 1) return [r, g, b];
  }
  return [255, 255, 255];
};
const found = {};
for (const node of document.querySelectorAll(arguments[0])) {
  if (!node.checkVisibility() || !node.textContent.trim()) continue;
  const style = getComputedStyle(node);
  const text = numbers(node.closest("svg") ? style.fill : style.color);
  const pair = [light(text), light(paper(node.closest("svg")?.parentElement ?? node))].sort();
  const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  const name = `${node.tagName} ${node.getAttribute("class") ?? ""}`;
  found[name] = Math.min(found[name] ?? 99, ratio);
}
return found;
"""
TEXT = (
    "h1, h2, h3, h4, p, li, dt, dd, th, td, caption, summary, label, a, button, small, "
    "select, output, .tag, .badge, pre, svg.chart text"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.open_browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(healthy: Path) -> Path:
    return healthy.parent / "reports" / f"report-{AS_OF}.html"


def test_it_opens_without_an_error_and_asks_for_nothing_else(
    browser: Browser, report: Path
) -> None:
    browser.driver.get_log("performance")  # forgets the browser's own first page
    browser.show(report)

    assert [entry["message"] for entry in browser.driver.get_log("browser")] == []
    events = [json.loads(e["message"])["message"] for e in browser.driver.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked - {"about:blank"} == {report.as_uri()}


def test_search_leaves_what_matches_and_says_how_much(browser: Browser, report: Path) -> None:
    browser.show(report)
    name, term = browser.ask(
        "const card = [...document.querySelectorAll('.card')].find((c) => c.querySelector('td'));"
        "return [card.querySelector('h4 span').textContent,"
        " card.querySelector('tbody th').textContent]"
    )
    segments, audiences = browser.ask(
        "return ['.card', '.audience'].map((what) => document.querySelectorAll(what).length)"
    )

    browser.ask("document.getElementById('q').focus()")
    browser.press(name.lower())
    left = browser.ask(
        "return [...document.querySelectorAll('.card:not([hidden]) h4 span')]"
        ".map((c) => c.textContent)"
    )
    said = browser.ask("return document.querySelector('output').value")
    assert name in left
    assert len(left) < segments
    assert said == f"{len(left)} of {segments} segments, 0 of {audiences} audiences"
    assert (
        browser.ask("return document.querySelector('.none-left[data-kind=audience]').hidden")
        is False
    )

    browser.press(ENTER)
    assert browser.ask("return document.querySelector(':target h4 span').textContent") == left[0]

    browser.ask("document.getElementById('q').select()")
    browser.press(term)
    why = browser.ask("return [...document.querySelectorAll('.why')].map((w) => w.textContent)")
    assert any(term in reason for reason in why) or term in name

    browser.press(ESCAPE)
    browser.wait("return !document.querySelector('.findable[hidden]')")
    assert browser.ask("return document.querySelector('output').value") == ""


def test_filters_by_size_and_verdict(browser: Browser, report: Path) -> None:
    browser.show(report)

    browser.ask(
        "for (const [id, value] of [['share', '0.2'], ['verdict', 'refused']]) {"
        " const filter = document.getElementById(id); filter.value = value;"
        " filter.dispatchEvent(new Event('input', {bubbles: true})); }"
    )

    shares = browser.ask(
        "return [...document.querySelectorAll('.card')]"
        ".map((card) => [Number(card.dataset.share), card.hidden])"
    )
    assert all(hidden == (share < 0.2) for share, hidden in shares)
    verdicts = browser.ask(
        "return [...document.querySelectorAll('.audience')]"
        ".map((audience) => [audience.dataset.verdict, audience.hidden])"
    )
    assert all(hidden == (verdict != "refused") for verdict, hidden in verdicts)


def test_a_link_to_something_filtered_out_shows_it_again(browser: Browser, report: Path) -> None:
    browser.show(report)
    browser.ask("document.getElementById('q').focus()")
    browser.press("nothing is called so")
    first = browser.ask("return document.querySelector('.card').id")

    browser.ask("location.hash = arguments[0]", first)

    browser.wait("return !document.querySelector('.card').hidden")


def test_the_theme_follows_the_system_until_the_button_is_pressed(
    browser: Browser, report: Path
) -> None:
    paper = "return getComputedStyle(document.querySelector('.panel')).backgroundColor"
    bar = "return getComputedStyle(document.querySelector('svg.chart [fill=\"#0072b2\"]')).fill"
    browser.show(report, theme="dark")
    dark = browser.ask(paper), browser.ask(bar)
    browser.show(report)
    light = browser.ask(paper), browser.ask(bar)
    assert dark[0] != light[0]
    assert dark[1] != light[1]

    browser.ask("document.querySelector('.theme').focus()")
    browser.press(ENTER)
    assert (browser.ask(paper), browser.ask(bar)) == dark
    assert browser.ask("return document.querySelector('.theme').ariaPressed") == "true"

    browser.show(report)
    assert browser.ask(paper) == light[0], "forgotten with the page"


def test_a_phone_scrolls_down_only(browser: Browser, report: Path) -> None:
    browser.show(report, width=PHONE, height=740)

    assert browser.ask("return document.documentElement.scrollWidth") <= PHONE
    browser.ask("document.querySelectorAll('details').forEach((d) => d.open = true)")
    assert browser.ask("return document.documentElement.scrollWidth") <= PHONE
    assert browser.ask("return document.querySelector('.contents').checkVisibility()") is False

    browser.ask("document.querySelector('.menu-button').focus()")
    browser.press(ENTER)
    assert browser.ask("return document.querySelector('.contents').checkVisibility()") is True
    browser.press(ESCAPE)
    assert browser.ask("return document.querySelector('.contents').checkVisibility()") is False
    assert browser.ask("return document.activeElement.className") == "button menu-button"


def test_keys_reach_every_control_and_the_marks_of_charts(browser: Browser, report: Path) -> None:
    browser.show(report)
    reached = []
    for _ in range(9):
        browser.press(TAB)
        reached.append(
            browser.ask(
                "const at = document.activeElement;"
                "return [at.id || at.className || at.textContent.trim(),"
                " getComputedStyle(at).outlineStyle]"
            )
        )
    names = [name for name, _ in reached]

    assert names[:6] == ["skip", "Kinsight", "button theme", "q", "share", "verdict"]
    assert "Overview" in names
    assert all(outline != "none" for _, outline in reached), "the focus can be seen"

    browser.ask("document.querySelector('svg.chart').focus()")
    browser.press(RIGHT)
    hint = "const hint = document.querySelector('.hint'); return [hint.hidden, hint.textContent]"
    hidden, text = browser.ask(hint)
    assert not hidden
    assert text
    browser.press(ESCAPE)
    assert browser.ask(hint)[0] is True


def test_each_chart_has_a_name_and_its_table(browser: Browser, report: Path) -> None:
    browser.show(report)

    without = browser.ask(
        "return [...document.querySelectorAll('svg.chart')].filter((chart) =>"
        " !chart.getAttribute('aria-label') || !chart.closest('figure')?.querySelector('table'))"
        ".length"
    )
    assert without == 0
    levels = browser.ask(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')]"
        ".map((heading) => Number(heading.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "no level is skipped"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_paper(browser: Browser, report: Path, theme: str) -> None:
    browser.show(report, theme=theme)

    contrasts = browser.ask(CONTRASTS, TEXT)

    assert len(contrasts) > 20
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}


def test_without_script_everything_stays_readable(browser: Browser, report: Path) -> None:
    browser.tell("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.show(report)
        shown = browser.tell("Accessibility.getFullAXTree")["nodes"]
    finally:
        browser.tell("Emulation.setScriptExecutionDisabled", value=False)
    roles = [node.get("role", {}).get("value") for node in shown]

    assert "searchbox" not in roles, "a control that would do nothing is not there"
    assert "navigation" in roles
    assert roles.count("heading") > 10
    assert roles.count("link") > 10
