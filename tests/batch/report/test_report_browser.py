"""The report of a batch in a real browser, opened from disk."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepfun_async.batch.report import ReportRow, write_report
from tests.support.browser import Browser, chromium
from tests.support.reports import HOSTILE, PRICE, failed, pictures, row, summary

FIRST_TILE = "#grid li:first-child button"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser) -> Browser:
    running.complaints.clear()
    running.look(1600)
    return running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures and what can become of a request otherwise, with a report."""
    folder = tmp_path_factory.mktemp("batch")
    rows: list[ReportRow] = [
        *pictures(folder, 4),
        failed(4, prompt="a fox in the snow"),
        failed(5, "APITimeoutError", prompt="a fox asleep", error_message="no answer within 120 s"),
        row(6, "filtered", error="ContentFilteredError"),
        row(7, "unknown", cost=(), held=(PRICE,), seconds=None),
    ]
    settings = {"concurrency": 40, "limit_tier": "V1"}
    job = summary(status="stopped", reason="more than 2 failures", total=20, settings=settings)
    write_report(folder / "report.html", rows, job)
    return folder


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Browser]:
    """The report, open; at the end nothing may have been complained about."""
    browser.open(folder / "report.html")
    yield browser
    assert browser.complaints == []


def found(page: Browser) -> str:
    return page.text("#found")


def prompts(page: Browser) -> list[str]:
    """The prompts of all tiles in the document."""
    listed: list[str] = page.run("Array.from(document.querySelectorAll('#grid .words'), (each) => each.textContent)")
    return listed


def focused(page: Browser) -> str:
    """What the focused element is called: its id, or its place among the tiles."""
    return str(page.run("document.activeElement.id || `tile ${document.activeElement.parentElement.dataset.place}`"))


def details(page: Browser) -> dict[str, str]:
    """The open picture's facts by name."""
    pairs: list[tuple[str, str]] = page.run(
        "Array.from(document.querySelectorAll('#details dl div'),"
        " (each) => [each.children[0].textContent, each.children[1].textContent])"
    )
    return dict(pairs)


# --- how it looks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 1600])
def test_nothing_is_wider_than_the_window(page: Browser, width: int, scheme: str) -> None:
    page.look(width, scheme=scheme)
    page.run("document.querySelector('#gallery').scrollIntoView()")
    page.until("document.querySelectorAll('#grid li').length === 8")
    wider = """Array.from(document.querySelectorAll('body *'))
      .filter((each) => !each.closest('.wide, .unseen, dialog'))
      .filter((each) => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
      .map((each) => each.outerHTML.slice(0, 200))"""
    assert page.run(wider) == []
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth") is True
    ground = page.run("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(page: Browser, scheme: str) -> None:
    """By at least 4.5 to 1, as WCAG 2 asks for in level AA."""
    page.look(1600, scheme=scheme)
    contrast = """(() => {
      const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
      const light = (colour) => {
        const [r, g, b] = numbers(colour).map((each) => each / 255)
          .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return (numbers(colour)[3] ?? 1) > 0 ? colour : ground(element.parentElement);
      };
      const words = (element) => Array.from(element.childNodes).some((each) => each.nodeType === 3 && each.data.trim());
      return Array.from(document.querySelectorAll('main *, header *, footer'))
        .filter((each) => words(each) && each.checkVisibility())
        .map((each) => {
          const style = getComputedStyle(each);
          const ink = light(each.closest('svg') ? style.fill : style.color);
          const [a, b] = [ink, light(ground(each))].sort((a, b) => a - b);
          return [(b + 0.05) / (a + 0.05), each.outerHTML.slice(0, 120)];
        })
        .filter(([ratio]) => ratio < 4.5);
    })()"""
    assert page.run(contrast) == []


@pytest.mark.parametrize("width", [400, 1600])
def test_an_open_picture_fits_the_window(page: Browser, width: int) -> None:
    page.look(width)
    page.click(FIRST_TILE)
    page.until("document.querySelector('#canvas img').complete")
    inside = """['#viewer', '#canvas img', '#close', '#next'].filter((name) => {
      const box = document.querySelector(name).getBoundingClientRect();
      return box.left < 0 || box.right > window.innerWidth || box.top < 0 || box.bottom > window.innerHeight;
    })"""
    assert page.run(inside) == []


def test_it_prints(page: Browser) -> None:
    pdf = base64.b64decode(page.ask("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    page.run("document.querySelector('#gallery').scrollIntoView()")
    page.until("document.querySelectorAll('#grid li').length === 8")


# --- finding ----------------------------------------------------------------------------------------


def test_a_state_is_picked_out(page: Browser) -> None:
    assert found(page) == "8 requests"
    page.click("[data-filter=failed]")
    assert found(page) == "2 of 8 requests"
    assert prompts(page) == ["a fox in the snow", "a fox asleep"]
    assert page.run("document.querySelector('[aria-pressed=true]').dataset.filter") == "failed"
    page.click("[data-filter='']")
    assert found(page) == "8 requests"


def test_prompts_and_ids_are_searched_for_all_words_in_any_case(page: Browser) -> None:
    page.click("#search")
    page.type("SNOW  fox")
    assert prompts(page) == ["a fox in the snow"]
    page.run("document.querySelector('#search').select()")
    page.type("000002")
    assert prompts(page) == ["lake number 2"]


def test_search_and_state_go_together(page: Browser) -> None:
    page.click("#search")
    page.type("lake")
    page.click("[data-filter=filtered]")
    assert prompts(page) == ["lake number 6"]


def test_where_nothing_matches_it_says_so_and_offers_a_way_back(page: Browser) -> None:
    page.click("#search")
    page.type("unicorn")
    assert found(page) == "0 of 8 requests"
    assert page.text("#none") == "Nothing here matches what you are looking for.\n\nShow all"
    page.click("#clear")
    assert found(page) == "8 requests"
    assert page.run("document.querySelector('#none').checkVisibility()") is False
    assert page.run("document.querySelector('#search').value") == ""
    assert focused(page) == "search"


def test_the_failures_of_a_class_are_shown_and_left_again(page: Browser) -> None:
    page.click("[data-failure='1']")
    assert prompts(page) == ["a fox asleep"]
    assert page.text("#only") == "Only APITimeoutError \N{MULTIPLICATION SIGN}"
    page.click("#only")
    assert found(page) == "8 requests"


def test_an_example_of_a_failure_opens_and_closes_where_it_was(page: Browser) -> None:
    page.click("[data-place='5']")
    assert "no answer within 120 s" in page.text("#details")
    assert page.text("#viewer-title") == "1 of 1"
    before = page.run("scrollY")
    page.press("Escape")
    page.until("document.activeElement.dataset.place === '5'")
    assert page.run("scrollY") == before
    assert found(page) == "8 requests"


def test_unknown_requests_are_shown(page: Browser) -> None:
    page.click("[data-show=unknown]")
    assert prompts(page) == ["lake number 7"]


# --- one picture --------------------------------------------------------------------------------------


def test_a_picture_opens_with_its_parameters(page: Browser) -> None:
    page.click("#grid li:nth-child(2) button")
    page.until("document.querySelector('#canvas img').complete")
    assert page.run("document.querySelector('#canvas img').naturalWidth") == 256
    assert page.text("#details .prompt") == "lake number 1"
    assert details(page) == {
        "id": "000001",
        "model": "step-image-edit-2",
        "operation": "text_to_image",
        "size": "1024x1024",
        "steps": "8",
        "pixels": "256 \N{MULTIPLICATION SIGN} 256",
        "bytes": details(page)["bytes"],
        "seed": "2",
        "file": "01/000001.png",
        "cost": "0.003 USD",
        "attempts": "1",
        "attempts maybe charged": "1",
        "started": "2025-11-25 14:02:01 UTC",
        "ended": "2025-11-25 14:02:03 UTC",
        "took": "2 s",
        "trace id": "trace-1",
    }
    assert page.run("document.querySelector('#canvas a').href").endswith("/01/000001.png")


def test_the_keyboard_goes_from_picture_to_picture_and_back_to_the_page(page: Browser) -> None:
    page.run("document.querySelector('#grid button').focus()")
    page.press("ArrowRight")
    assert focused(page) == "tile 1"
    page.press("Enter")
    assert page.text("#viewer-title") == "2 of 8"
    page.press("ArrowRight")
    page.press("ArrowRight")
    page.press("ArrowLeft")
    assert page.text("#viewer-title") == "3 of 8"
    page.press("Escape")
    assert page.run("document.querySelector('#viewer').open") is False
    page.until("document.activeElement.closest('li')?.dataset.place === '2'")


def test_the_ends_are_the_ends(page: Browser) -> None:
    page.click(FIRST_TILE)
    page.press("ArrowLeft")
    assert page.text("#viewer-title") == "1 of 8"
    for _ in range(9):
        page.press("ArrowRight")
    assert page.text("#viewer-title") == "8 of 8"
    assert page.run("[document.querySelector('#previous').disabled, document.querySelector('#next').disabled]") == [
        False,
        True,
    ]


def test_the_buttons_do_the_same(page: Browser) -> None:
    page.click(FIRST_TILE)
    page.click("#next")
    page.click("#next")
    page.click("#previous")
    assert page.text("#viewer-title") == "2 of 8"
    page.click("#close")
    assert page.run("document.querySelector('#viewer').open") is False


def test_the_keyboard_stays_in_an_open_picture(page: Browser) -> None:
    page.click(FIRST_TILE)
    seen = set()
    for _ in range(12):
        page.press("Tab")
        assert page.run("document.activeElement === document.body || viewer.contains(document.activeElement)") is True
        seen.add(page.run("document.activeElement.id"))
    assert {"next", "close", "details"} <= seen


def test_everything_can_be_reached_by_keyboard(page: Browser) -> None:
    """From the top, with the tiles as one stop."""
    stops = []
    for _ in range(40):
        page.press("Tab")
        stops.append(
            page.run("document.activeElement.className || document.activeElement.id || document.activeElement.tagName")
        )
        if page.run("!!document.activeElement.closest('#grid')"):
            break
    assert stops[0] == "skip"
    assert "search" in stops
    assert focused(page) == "tile 0"
    page.press("Tab")
    assert page.run("document.activeElement.closest('#grid')") is None


def test_every_control_has_a_name(page: Browser) -> None:
    page.click(FIRST_TILE)
    page.press("Escape")
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node for node in nodes if node.get("role", {}).get("value") in ("button", "searchbox", "image", "dialog")
    ]
    assert len(controls) > 20
    assert [node for node in controls if not node["name"]["value"]] == []


def test_a_failure_says_what_happened(page: Browser) -> None:
    page.click("[data-filter=failed]")
    page.click(FIRST_TILE)
    assert page.text("#canvas") == "RateLimitError"
    assert page.text("#details").startswith(
        "Failed\n\na fox in the snow\n\nThere is no image, and no doubt about money.\n\n"
    )
    assert "slow down" in page.text("#details .failure")


# --- hostile text -----------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """`text` as the browser's own text has it once control characters are signs."""
    signs = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"} | {0x7F: 0x2421}
    return text.translate(signs)


@pytest.mark.parametrize("width", [400, 1600])
def test_hostile_text_is_only_ever_text(browser: Browser, tmp_path: Path, width: int) -> None:
    browser.look(width)
    rows = [
        failed(place, error=text or "Error", prompt=text, error_message=text, model=text, parameters={text: [text]})
        for place, text in enumerate(HOSTILE)
    ]
    job = summary(title=HOSTILE[0], status="stopped", reason=HOSTILE[3], settings={HOSTILE[2]: HOSTILE[9]})
    browser.open(write_report(tmp_path / "report.html", rows, job))

    assert browser.text("h1 span") == HOSTILE[0]
    assert (
        browser.run("Math.max(...Array.from(document.querySelectorAll('article'), (each) => each.offsetHeight))") < 900
    )
    for text in HOSTILE[:-1]:
        browser.click(f"[data-place='{HOSTILE.index(text)}']")
        assert browser.run("details.querySelector('.prompt').textContent") == shown(text)
        browser.press("Escape")

    assert browser.run("typeof pwned") == "undefined"
    assert browser.run("document.querySelectorAll('img, iframe, svg:not([role=img])').length") == 0
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth") is True
    assert browser.complaints == []


def test_the_policy_refuses_what_is_not_the_pages_own(browser: Browser, folder: Path) -> None:
    browser.open(folder / "report.html")
    fetched = browser.run("fetch('data:text/plain,x').then(() => 'went', () => 'refused')")
    assert fetched == "refused"
    injected = browser.run(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'went'; } catch { return 'refused'; } })()"
    )
    assert injected == "refused"
    styled = browser.run(
        "(() => { const style = document.createElement('style'); style.textContent = 'body { color: rgb(1, 2, 3) }';"
        " document.head.append(style); return getComputedStyle(document.body).color; })()"
    )
    assert styled != "rgb(1, 2, 3)"
    assert len(browser.complaints) >= 2


# --- pictures that are gone, and thousands ------------------------------------------------------------------


def test_a_picture_that_is_gone_leaves_a_note_and_not_a_hole(browser: Browser, tmp_path: Path) -> None:
    rows = list(pictures(tmp_path, 2))
    report = write_report(
        tmp_path / "report.html", [*rows, row(2, path="gone.png"), row(3, path="/elsewhere.png")], summary()
    )
    browser.open(report)
    browser.until("document.querySelectorAll('#grid .instead').length === 2")
    assert browser.text("#grid li:nth-child(3) .instead") == "The file is gone"
    assert browser.text("#grid li:nth-child(4) .instead") == "The image lies outside of this folder"
    assert all("gone.png" in complaint for complaint in browser.complaints)


@pytest.mark.parametrize("width", [400, 1600])
def test_thousands_are_listed_while_few_are_in_the_document(browser: Browser, tmp_path: Path, width: int) -> None:
    browser.look(width)
    made = list(pictures(tmp_path, 4))
    rows = (row(place, path=made[place % 4].path) for place in range(5000))
    browser.open(write_report(tmp_path / "report.html", rows, summary()))
    browser.until("document.querySelector('#found').textContent === '5,000 requests'")

    browser.run("document.querySelector('#grid button').focus()")
    browser.press("End")
    assert focused(browser) == "tile 4999"
    browser.until(
        "Array.from(document.querySelectorAll('#grid img')).every((each) => each.complete && each.naturalWidth)"
    )
    assert prompts(browser)[-1] == "lake number 4999"
    assert len(prompts(browser)) < 120
    in_window = """(() => {
      const box = document.activeElement.getBoundingClientRect();
      return box.top >= 0 && box.bottom <= window.innerHeight;
    })()"""
    assert browser.run(in_window) is True

    browser.press("Home")
    assert (focused(browser), prompts(browser)[0]) == ("tile 0", "lake number 0")
    assert browser.complaints == []


def test_what_is_at_the_top_stays_when_the_window_changes(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(tmp_path / "report.html", (row(place) for place in range(3000)), summary()))
    browser.until("document.querySelector('#found').textContent === '3,000 requests'")
    browser.run("document.querySelector('#grid').scrollIntoView(); scrollBy(0, 20000)")
    browser.until("Number(document.querySelector('#grid li').dataset.place) > 100")
    at_top = """Number(Array.from(document.querySelectorAll('#grid li'))
      .find((each) => each.getBoundingClientRect().bottom > 80).dataset.place)"""
    before = browser.run(at_top)
    browser.look(700)
    browser.until("getComputedStyle(document.querySelector('#grid')).gridTemplateColumns.split(' ').length < 5")
    assert abs(browser.run(at_top) - before) < 7


def test_nothing_yet_is_said_in_words(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_report(tmp_path / "report.html", [], summary(status="running", total=200)))
    assert browser.text("#none") == "No images yet. They will be listed here once the job has made some."
    assert browser.run("document.querySelector('#tools').checkVisibility()") is False
    assert browser.complaints == []
