"""The page in a real browser: nothing of a hostile trace runs or is asked for, the layout holds at three widths, and the
keyboard reaches everything. Without a browser these are skipped; test_report_page.py checks the escaping of the same run
with an HTML parser on every machine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import FOUND, Browser, Page
from hostile_run import BAD, write_hostile

from redistill import api
from redistill.io.atomic import write_json
from redistill.report import write_report, write_runs_page
from redistill.report.sweep import write_sweep_page

pytestmark = pytest.mark.skipif(
    FOUND is None, reason="no Chromium here (set CHROMIUM); test_report_page.py checks the same run with an HTML parser"
)
WIDTHS = (390, 820, 1280)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def hostile(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_hostile(run_folder, tmp_path_factory.mktemp("hostile") / "run"))


@pytest.fixture(scope="module")
def ordinary(run_folder: Path) -> Path:
    return write_report(run_folder)


def assert_it_fits(page: Page) -> None:
    """Nothing sticks out to the side: the page is as wide as the window, and so is every part of it that is shown."""
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), page.value("window.innerWidth")
    outside = """[...document.querySelectorAll('main section, main p, figure, .scroll, pre, .browser, summary, h1, h2')]
        .filter(e => e.offsetParent && e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert page.value(outside) == []


def test_nothing_of_a_hostile_trace_runs_and_nothing_is_asked_for(browser: Browser, hostile: Path) -> None:
    page = browser.open(hostile)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.value("document.querySelectorAll('.browser label').forEach(l => l.click())")
    page.value("""document.querySelectorAll('main *').forEach(e => ['mouseover', 'focus', 'error', 'load', 'toggle']
        .forEach(kind => e.dispatchEvent(new Event(kind))))""")
    assert page.value("document.title") == "</title><script>alert(5)</script> · redistill"
    assert page.value("window.ran === undefined")
    assert page.value("document.querySelectorAll('script, img, iframe, object, embed, base, form, link').length") == 0
    assert page.value("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#'))")
    asked = [event["params"]["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    assert asked == [hostile.resolve().as_uri()]
    noise = page.seen(
        "Page.javascriptDialogOpening", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"
    )
    assert noise == []
    assert page.value("document.querySelectorAll('main > section').length") >= 16  # no text has closed a section


@pytest.mark.parametrize("kept", [True, False])
def test_it_is_the_pages_policy_that_forbids_scripts_and_all_network(
    browser: Browser, hostile: Path, tmp_path: Path, kept: bool
) -> None:
    """What a hole in the escaping could plant is planted: with the policy nothing happens, without it all of it does."""
    html = hostile.read_text("utf-8")
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    assert html.count(policy) == 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5 if kept else 20)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        planted = f"<body><script>window.ran = 2</script><img src='{address}'>"
        path = tmp_path / "planted.html"
        path.write_text((html if kept else html.replace(policy, "")).replace("<body>", planted))
        browser.events.clear()
        page = browser.open(path, loads=kept)  # an unguarded page waits for the server
        try:
            server.accept()[0].close()
            asked = True
        except TimeoutError:
            asked = False
        browser.wait("Page.loadEventFired")
        assert (asked, page.value("window.ran === 2")) == (not kept, not kept)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_hostile_trace_breaks_no_layout(browser: Browser, hostile: Path, width: int) -> None:
    page = browser.open(hostile, width=width, dark=width == 820)
    assert_it_fits(page)
    page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert_it_fits(page)
    # hidden direction marks are signs: every paragraph runs from left to right
    assert page.value("[...document.querySelectorAll('pre')].every(e => getComputedStyle(e).direction === 'ltr')")
    # marks stacked on a letter do not climb over what stands above: a text is no taller than its box
    assert page.value(
        "[...document.querySelectorAll('main pre')].every(e => getComputedStyle(e).overflow !== 'visible')"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_an_ordinary_page_fits_too(browser: Browser, ordinary: Path, width: int) -> None:
    assert_it_fits(browser.open(ordinary, width=width, dark=width == 390))


@pytest.mark.parametrize("width", WIDTHS)
def test_several_hostile_runs_and_a_hostile_sweep_fit_and_run_nothing(
    browser: Browser, hostile: Path, run_folder: Path, tmp_path: Path, width: int
) -> None:
    side_by_side = write_runs_page([hostile.parent, run_folder], [], [BAD], tmp_path / "runs.html")
    column = {"seeds": [0], "each": [0.5], "mean": 0.5, "interval95_over_seeds": None, "against_control": None}
    points = [
        {"variant": BAD, "settings": {f"a.{BAD}": BAD * i, "b": i}, "state": "done", "benchmarks": {BAD: column}}
        for i in (1, 2)
    ]
    sweep = {"name": BAD, "control": None, "axes": {"b": [1, 2]}, "seeds": [0], "trials": [], "points": points}
    write_json(tmp_path / "sweep.json", {**sweep, "chosen": []})
    for path in (side_by_side, write_sweep_page(tmp_path)):
        page = browser.open(path, width=width)
        assert_it_fits(page)
        assert page.value("window.ran === undefined && document.querySelectorAll('script, img, iframe').length === 0")
        assert "owned" not in page.value("document.title").partition("·")[2]


def test_the_keyboard_reaches_everything_and_focus_is_seen(browser: Browser, ordinary: Path) -> None:
    page = browser.open(ordinary)
    page.value("document.querySelectorAll('details.folded').forEach(d => d.open = true)")
    reachable = page.value("""[...document.querySelectorAll('a[href], summary, [tabindex="0"], input:checked')]
        .filter(e => e.checkVisibility()).length""")
    reached = 0
    for _ in range(reachable + 5):
        page.press("Tab")
        if page.value("document.activeElement === document.body"):
            break
        seen = """(() => { const e = document.activeElement, shown = e.type === 'radio' ? e.nextElementSibling : e;
            return getComputedStyle(shown).outlineStyle; })()"""
        assert page.value(seen) == "solid", page.value("document.activeElement.outerHTML.slice(0, 200)")
        reached += 1
    assert reached == reachable > 30


def test_a_link_to_a_folded_section_opens_it(browser: Browser, ordinary: Path) -> None:
    page = browser.open(ordinary)
    shown = "document.querySelector('#training').checkVisibility()"
    assert page.value(shown) is False
    page.value("document.querySelector('nav a[href=\"#training\"]').click()")
    for _ in range(50):
        if page.value(shown):
            break
    assert page.value(shown) is True


def test_a_table_wider_than_a_phone_shows_that_it_goes_on(browser: Browser, ordinary: Path) -> None:
    page = browser.open(ordinary, width=390)
    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth)"
    assert page.value(f"{wide}.length") > 0
    assert page.value(f"{wide}.every(e => getComputedStyle(e).backgroundImage.includes('gradient'))")
    assert page.value(f"{wide}.every(e => getComputedStyle(e).scrollbarWidth === 'thin')")


def test_arrow_keys_leaf_through_the_pairs(browser: Browser, ordinary: Path) -> None:
    page = browser.open(ordinary)
    page.value("document.querySelectorAll('details.folded').forEach(d => d.open = true)")
    page.value("document.querySelector('#pairs-1').focus()")
    shown = "[...document.querySelectorAll('.browser')][0].querySelectorAll('article')"
    visible = f"[...{shown}].map(a => a.offsetParent !== null)"
    assert page.value(visible) == [True, False, False]
    page.press("ArrowRight")
    assert page.value(visible) == [False, True, False]
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    assert page.value(visible) == [False, False, True]  # round the end


def test_the_page_of_an_audit_fits_every_window_and_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    generations = [{"text": f"{BAD} \\boxed{{4}}", "correct": False}, {"text": "\\boxed{5}", "correct": True}]
    row = {"problem": f"What is 2+2? {BAD}", "answer": "4", "generations": generations, BAD: 1}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    found = api.audit(tmp_path / "rows.jsonl", out=tmp_path / "out", workers=1)
    for width in WIDTHS:
        page = browser.open(Path(found["page"]), width=width, dark=width == WIDTHS[0])
        page.value("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert_it_fits(page)
        assert page.value("window.ran === undefined")
        assert (
            page.value("document.querySelectorAll('script, img, iframe, object, embed, base, form, link').length") == 0
        )
