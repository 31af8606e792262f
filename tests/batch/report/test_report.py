"""The report of a batch: what it says, that it stays one page whatever is in a prompt, and that it stays small."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import os
import re
import runpy
import shutil
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow
from PIL import ImageChops, ImageStat

from stepfun_async import Batch, ConfigurationError, Limits, RetryPolicy
from stepfun_async._core.money import Money
from stepfun_async._core.rendering import as_seen
from stepfun_async._runtime.pyinstaller import hook_dirs
from stepfun_async.batch import JournalError, Records
from stepfun_async.batch.report import STATES, ReportRow, ReportSummary, page, thumbnails, write_report, writing
from stepfun_async.batch.report.item_rows import summary_from
from stepfun_async.batch.report.page import page_around_records
from stepfun_async.batch.report.stats import DurationHistogram, ReportStats, Timeline
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario
from tests.support import samples
from tests.support.reports import HOSTILE, PRICE, START, Page, failed, read, row, summary

SURROGATE = re.compile("[\ud800-\udfff]")


def report(folder: Path, *rows: ReportRow, **more: Any) -> Page:
    """The page about some rows."""
    return read(write_report(folder / "report.html", rows, summary(**more)))


def said(page: Page) -> str:
    """What is written on a page, with every space a plain one."""
    return " ".join(page.text.split())


# --- what it says -----------------------------------------------------------------------------------


def test_it_counts_pictures_failures_and_money(tmp_path: Path) -> None:
    rows = [row(place) for place in range(7)]
    rows += [failed(7), failed(8), row(9, "filtered", error="ContentFilteredError")]
    rows += [row(10, "unknown", cost=(), held=(PRICE,), seconds=None)]

    text = said(report(tmp_path, *rows, total=20, budget=Money(Decimal(5), "USD")))

    assert "Images7of 20, 35 %" in text
    assert "Without an image41 filtered, 2 failed, 1 unknown" in text
    assert "Spent0.024 USDof a budget of 5 USD0.003 USD more is uncertain" in text
    assert "7 done1 filtered2 failed1 unknown9 waiting" in text
    assert "1 request may have been charged, and brought no image." in text


def test_it_says_when_the_job_ran_and_how_fast(tmp_path: Path) -> None:
    rows = [row(place * 60, seconds=5.0) for place in range(61)]
    assert "2025-11-25 14:02 to 15:02 UTC" in said(report(tmp_path, *rows))
    assert "Rate1.02 / min" in said(report(tmp_path, *rows))
    assert "Rate2.03 / min" in said(report(tmp_path, *rows, seconds=1800.0))
    assert "30 min at work" in said(report(tmp_path, *rows, seconds=1800.0))


def test_a_night_between_two_runs_is_no_time_at_work(tmp_path: Path) -> None:
    rows = [row(place) for place in [*range(0, 600, 2), *range(36_000, 36_600, 2)]]
    text = said(report(tmp_path, *rows))
    assert "19 min 59 s at work" in text
    assert "Rate30 / min" in text


def test_it_says_why_a_job_was_stopped(tmp_path: Path) -> None:
    text = said(report(tmp_path, row(0), status="stopped", reason="more than 40 failures"))
    assert "lakesStopped" in text
    assert "Stopped early: more than 40 failures" in text


def test_failures_are_by_class_most_frequent_first_with_three_examples(tmp_path: Path) -> None:
    rows = [failed(place, error_message=f"refused {place}") for place in range(5)]
    rows += [failed(place, "APITimeoutError", prompt="a fox") for place in range(5, 13)]

    page = report(tmp_path, *rows)

    text = said(page)
    assert text.index("APITimeoutError8 requests, 62 % of the failures") < text.index("RateLimitError5 requests, 38 %")
    assert [f"refused {place}" in text for place in range(5)] == [True, True, True, False, False]
    assert page.values("data-place") == ["5", "6", "7", "0", "1", "2"]
    about = page.data[0]
    assert [about["failures"][int(place)] for place in page.values("data-failure")] == [
        "APITimeoutError",
        "RateLimitError",
    ]


def test_a_failure_without_a_class_is_called_by_its_state(tmp_path: Path) -> None:
    page = report(tmp_path, row(0, "filtered"))
    assert page.records[0]["error"] == "Filtered"
    assert "Filtered1 request, 100 % of the failures" in said(page)


def test_thousands_of_classes_are_counted_together(tmp_path: Path) -> None:
    rows = (failed(place, f"Error {place}", model=f"model {place}") for place in range(500))
    page = read(write_report(tmp_path / "report.html", rows, summary()))
    assert "all others450 requests, 90 % of the failures" in said(page)
    assert page.elements.count("article") == 51


def test_costs_are_by_model_and_currency(tmp_path: Path) -> None:
    yuan = Money(Decimal("0.02"), "CNY")
    rows = [
        row(0),
        row(1, model="step-2x-large", cost=(yuan,)),
        row(2, model="step-2x-large", cost=(yuan,), held=(yuan,), attempts=3),
    ]

    text = said(report(tmp_path, *rows))

    assert "step-2x-large2420.04 CNY0.02 CNY" in text
    assert "step-image-edit-21110.003 USD" in text
    assert "All models3530.04 CNY + 0.003 USD0.02 CNY" in text


def test_a_job_that_has_not_begun_shows_no_empty_plots(tmp_path: Path) -> None:
    page = report(tmp_path, total=200, status="running")
    assert "of 200, 0 %" in said(page)
    assert "Failures" not in said(page)
    assert "plot" not in page.values("class")
    assert page.records == []


def test_a_job_without_failures_says_so(tmp_path: Path) -> None:
    assert "No failures. Every request that ended made an image." in said(report(tmp_path, row(0)))


def test_each_row_keeps_everything_that_is_known_of_it(tmp_path: Path) -> None:
    (record,) = report(tmp_path, row(3, seed=7, path="00/a.png", width=64, height=32, bytes=900, held=(PRICE,))).records
    assert record == {
        "id": "000003",
        "state": "done",
        "prompt": "lake number 3",
        "error": None,
        "width": 64,
        "height": 32,
        "source": "00/a.png",
        "thumbnail": None,
        "path": "00/a.png",
        "model": "step-image-edit-2",
        "operation": "text_to_image",
        "parameters": {"size": "1024x1024", "steps": 8},
        "bytes": 900,
        "seed": 7,
        "finish_reason": None,
        "cost": "0.003 USD",
        "held": "0.003 USD",
        "attempts": 1,
        "maybe_billed": 1,
        "error_message": None,
        "started": START + 3,
        "ended": START + 5,
        "seconds": 2.0,
        "trace_id": "trace-3",
    }


def test_parameters_that_json_or_javascript_lacks_become_text(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    parameters = {
        "seed": 2**63,
        "huge": 10**5000,
        "weight": float("nan"),
        "image": b"12345",
        "style": {"weights": (0.5, float("inf")), 7: None},
        "endless": endless,
    }

    (record,) = report(tmp_path, row(0, parameters=parameters)).records

    kept = record["parameters"]
    assert kept["seed"] == "9223372036854775808"
    assert kept["huge"] == "a int that cannot be shown"
    assert kept["weight"] == "nan"
    assert kept["image"] == "5 bytes"
    assert kept["style"] == {"weights": [0.5, "inf"], "7": None}
    assert "[...]" in str(kept["endless"])


# --- one page, whatever is in a prompt ------------------------------------------------------------------


def test_the_page_is_well_formed_and_its_references_lead_somewhere(tmp_path: Path) -> None:
    page = report(tmp_path, row(0), failed(1), row(2, "unknown"), settings={"limit_tier": "V1"})
    assert (page.wrong, page.open) == ([], [])
    ids = page.values("id")
    assert sorted(set(ids)) == sorted(ids)
    references = page.values("aria-labelledby") + page.values("aria-describedby") + ["gallery"]
    assert set(references) <= set(ids)
    assert page.values("lang") == ["en"]


def test_the_page_may_run_its_own_script_and_nothing_else(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", [row(0)], summary())
    (policy,) = [value for value in read(path).values("content") if "default-src" in value]
    (style,) = re.findall(r"<style>(.*?)</style>", path.read_text(), re.DOTALL)
    script = read(path).scripts[-1]

    def hash_of(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == hash_of(script)
    assert rules["style-src"] == hash_of(style)
    assert rules["img-src"] == "'self' file: data:"


def test_the_page_names_nothing_on_the_network(tmp_path: Path) -> None:
    text = write_report(tmp_path / "report.html", [row(0), failed(1)], summary()).read_text()
    assert re.findall(r"(?:https?:)?//\w[^\s\"']*", text.replace("http://www.w3.org/2000/svg", "")) == []


def shape(page: Page) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of a page with the names of their attributes, without those of which a text decides."""
    pairs = zip(page.elements, page.attributes, strict=True)
    return [(name, tuple(sorted(set(attributes) - {"class"}))) for name, attributes in pairs]


def everywhere(text: str) -> tuple[list[ReportRow], ReportSummary]:
    """Rows and a summary with `text` in every place that takes one."""
    name = text or "empty"
    facts: dict[str, Any] = {
        "prompt": name,
        "model": name,
        "operation": name,
        "parameters": {name: {name: name}},
        "path": name,
        "error": name,
        "error_message": name,
        "trace_id": name,
        "finish_reason": name,
    }
    rows = [ReportRow(id=name, state=state, attempts=1, **facts) for state in STATES]
    return rows, summary(title=name, status="stopped", reason=name, settings={name: name})


def check_is_only_text(folder: Path, text: str) -> None:
    rows, job = everywhere(text)
    page = read(write_report(folder / "report.html", rows, job, thumbnails=False))
    plain = read(write_report(folder / "plain.html", *everywhere("a lake"), thumbnails=False))
    assert shape(page) == shape(plain)
    assert (page.wrong, page.open) == ([], [])
    for record in page.records:
        if len(text) <= 20_000:
            assert record["prompt"] == record["id"] == record["error_message"] == (text or "empty")
        assert record.get("source") is None or _stays_below(record["source"])


def _stays_below(source: str) -> bool:
    """Whether a relative URL leads to something below the page."""
    return not re.match(r"[a-zA-Z][\w+.-]*:|[/\\?#]", source) and ".." not in unquote(source).split("/")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_text_stays_text(text: str, tmp_path: Path) -> None:
    check_is_only_text(tmp_path, text)


@given(text=st.text(st.characters(), max_size=60))
def test_any_text_stays_text(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_is_only_text(tmp_path_factory.mktemp("any", numbered=True), text)


def test_what_cannot_be_seen_is_shown_by_a_sign(tmp_path: Path) -> None:
    text = said(report(tmp_path, failed(0, prompt="NUL \0, half \ud800.", error_message="\x1b[31m")))
    assert "NUL \N{SYMBOL FOR NULL}, half \N{REPLACEMENT CHARACTER}." in text
    assert "\N{SYMBOL FOR ESCAPE}[31m" in text


def test_long_texts_are_whole_in_the_data_and_short_around_it(tmp_path: Path) -> None:
    rows, job = everywhere("long " * 2000)
    page = read(write_report(tmp_path / "report.html", rows, job))
    assert "long " * 81 not in page.text
    assert page.records[0]["prompt"] == "long " * 2000


def test_a_text_of_a_megabyte_is_cut_and_says_so(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", [failed(0, prompt="x" * 1_000_000)], summary())
    (record,) = read(path).records
    assert record["prompt"].endswith("(980,000 more characters)")
    assert path.stat().st_size < 100_000


# --- pictures -------------------------------------------------------------------------------------------

PATHS = {
    "a.png": "a.png",
    "00/a b.png": "00/a%20b.png",
    "00/../a.png": "a.png",
    "a?b#c%2e.png": "a%3Fb%23c%252e.png",
    "javascript:pwned=1": "javascript%3Apwned%3D1",
    "\\\\host\\share.png": "%5C%5Chost%5Cshare.png",
    "湖.png": "%E6%B9%96.png",
    "../a.png": None,
    "00/../../a.png": None,
    "/etc/passwd": None,
    "//host/a.png": None,
    ".": None,
    "": None,
    "half \ud800": None,
}


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.skipif(sys.platform == "win32", reason="these are names of POSIX")
def test_a_picture_is_shown_where_it_lies_in_the_folder_only(path: str, tmp_path: Path) -> None:
    (record,) = report(tmp_path, row(0, path=path)).records
    assert record["source"] == PATHS[path]


def test_an_absolute_path_in_the_folder_is_shown_from_there(tmp_path: Path) -> None:
    (record,) = report(tmp_path, row(0, path=tmp_path / "00" / "a.png")).records
    assert (record["path"], record["source"]) == ("00/a.png", "00/a.png")


def test_a_picture_outside_of_the_folder_is_named(tmp_path: Path) -> None:
    (record,) = report(tmp_path / "out", row(0, path=tmp_path / "a.png")).records
    assert (record["path"], record["source"]) == (str(tmp_path / "a.png"), None)


def large(path: Path, mode: str = "RGB", size: tuple[int, int] = (1200, 800), format: str | None = None) -> Path:
    """A picture that is worth making small."""
    pillow.linear_gradient("L").resize(size).convert(mode).save(path, format=format)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_large_pictures_get_small_copies(mode: str, tmp_path: Path) -> None:
    large(tmp_path / "a.png", mode)
    (record,) = report(tmp_path, row(0, path="a.png")).records
    with pillow.open(tmp_path / record["thumbnail"]) as small:
        assert (small.format, small.size) == ("WEBP", (400, 267))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF"])
def test_every_format_of_the_service_gets_small_copies(format: str, tmp_path: Path) -> None:
    large(tmp_path / "a.png", format=format)
    (record,) = report(tmp_path, row(0, path="a.png")).records
    assert (tmp_path / record["thumbnail"]).stat().st_size < (tmp_path / "a.png").stat().st_size


def _large_samples() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Large pictures that need care, each with the size of its small copy."""
    noise = samples.noise("RGB", 1200, 900)
    jpeg = samples.saved(noise, "JPEG")
    lying, upright = (400, 300), (300, 400)
    return {
        **{
            f"{kind}, turned": (samples.saved(noise, kind, exif=samples.turned(6)), upright)
            for kind in ("JPEG", "PNG", "WEBP")
        },
        "head of 130 KB": (jpeg[:20] + samples.segment(0xE2, bytes(65_000)) * 2 + jpeg[20:], lying),
        "stray bytes": (jpeg[:20] + b"stray" + jpeg[20:], lying),
        "CMYK": (samples.saved(noise.convert("CMYK"), "JPEG"), lying),
        "profile of grey levels": (
            samples.saved(noise.convert("L"), "JPEG", icc_profile=samples.grey_profile()),
            lying,
        ),
    }


LARGE = _large_samples()


@pytest.mark.parametrize("kind", LARGE)
def test_a_small_copy_shows_the_picture_as_it_is_seen(kind: str, tmp_path: Path) -> None:
    data, size = LARGE[kind]
    (tmp_path / "a").write_bytes(data)
    (record,) = report(tmp_path, row(0, path="a")).records
    with pillow.open(tmp_path / record["thumbnail"]) as small, pillow.open(tmp_path / "a") as whole:
        assert small.size == size
        assert small.getexif() == {}
        seen = as_seen(whole).convert("RGB").resize(size)
        assert max(ImageStat.Stat(ImageChops.difference(small.convert("RGB"), seen)).mean) < 30


def test_a_small_copy_of_16_bits_is_not_white(tmp_path: Path) -> None:
    levels = b"".join((x * 60).to_bytes(2, "little") for x in range(1000))
    pillow.frombytes("I;16", (1000, 900), levels * 900).save(tmp_path / "a.png")
    (record,) = report(tmp_path, row(0, path="a.png")).records
    with pillow.open(tmp_path / record["thumbnail"]) as small:
        middle = small.convert("L").tobytes()[180 * 400 + 200]
    assert 100 < middle < 135


def test_a_small_copy_has_the_colours_of_the_profile(tmp_path: Path) -> None:
    image = samples.noise("RGB", 1200, 900)
    image.save(tmp_path / "a.png", icc_profile=samples.swapped_profile())
    (record,) = report(tmp_path, row(0, path="a.png")).records
    red, green, blue = image.resize((400, 300)).split()
    with pillow.open(tmp_path / record["thumbnail"]) as small:
        shown = pillow.merge("RGB", (green, red, blue))
        assert max(ImageStat.Stat(ImageChops.difference(small.convert("RGB"), shown)).mean) < 30


def test_a_small_copy_is_transparent_where_the_picture_is(tmp_path: Path) -> None:
    flat = pillow.new("RGB", (1200, 900), "red")
    flat.paste(samples.noise("RGB", 600, 450), (300, 200))
    flat.save(tmp_path / "a.png", transparency=(255, 0, 0))
    (record,) = report(tmp_path, row(0, path="a.png")).records
    with pillow.open(tmp_path / record["thumbnail"]) as small:
        assert small.mode == "RGBA"
        assert small.getchannel("A").getextrema() == (0, 255)


def test_a_small_copy_is_made_once_and_again_when_the_picture_changes(tmp_path: Path) -> None:
    large(tmp_path / "a.png")
    (record,) = report(tmp_path, row(0, path="a.png")).records
    small = tmp_path / record["thumbnail"]
    os.utime(small, ns=(0, (tmp_path / "a.png").stat().st_mtime_ns))
    kept = small.stat()

    report(tmp_path, row(0, path="a.png"))
    assert small.stat() == kept

    os.utime(tmp_path / "a.png", ns=(0, kept.st_mtime_ns + 1))
    report(tmp_path, row(0, path="a.png"))
    assert small.stat().st_ino != kept.st_ino
    assert os.listdir(tmp_path / "thumbnails") == [small.name]


def bomb(path: Path) -> None:
    """A PNG that claims a billion pixels."""
    large(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    path.write_bytes(data)


def cut(path: Path) -> None:
    large(path)
    path.write_bytes(path.read_bytes()[:-500])


def wide_frame(path: Path) -> None:
    """A GIF whose frame is larger than its screen, and than anything that Pillow decodes."""
    head = b"GIF89a" + struct.pack("<HHBBB", 900, 900, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 30_000, 30_000, 0) + b"\2\2\x4c\1\0;"
    path.write_bytes(head + frame + bytes(40_000))


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("no picture"),
    "cut": cut,
    "bomb": bomb,
    "wide frame": wide_frame,
    "folder": lambda path: path.mkdir(),
    "small": lambda path: pillow.new("RGB", (64, 64)).save(path),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_or_need_not_be_made_small_is_shown_itself(kind: str, tmp_path: Path) -> None:
    BROKEN[kind](tmp_path / "a.png")
    (record,) = report(tmp_path, row(0, path="a.png")).records
    assert (record["source"], record["thumbnail"]) == ("a.png", None)


def test_without_pillow_and_when_not_wanted_there_are_no_small_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large(tmp_path / "a.png")
    write_report(tmp_path / "report.html", [row(0, path="a.png")], summary(), thumbnails=False)
    assert read(tmp_path / "report.html").records[0]["thumbnail"] is None
    monkeypatch.setattr(thumbnails, "find_spec", lambda name: None)
    assert report(tmp_path, row(0, path="a.png")).records[0]["thumbnail"] is None
    assert not (tmp_path / "thumbnails").exists()


def test_only_so_many_pictures_get_small_copies_and_the_order_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_MOST_THUMBNAILS", 20)
    rows = [row(place, path=large(tmp_path / f"{place}.png")) for place in range(30)]
    records = report(tmp_path, *rows).records
    assert [record["id"] for record in records] == [each.id for each in rows]
    assert [record["thumbnail"] is not None for record in records] == [True] * 20 + [False] * 10


def test_small_copies_take_a_while_at_most_and_the_next_report_makes_further_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(place, path=large(tmp_path / f"{place}.png")) for place in range(4)]
    assert report(tmp_path, *rows[:2]).records[0]["thumbnail"] is not None
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_SECONDS", 0.0)
        records = report(tmp_path, *rows).records
    assert [record["thumbnail"] is not None for record in records] == [True, True, False, False]
    assert all(record["source"] for record in records)
    assert all(record["thumbnail"] for record in report(tmp_path, *rows).records)


# --- the file ---------------------------------------------------------------------------------------------


def test_the_folder_is_made_and_a_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(path, [row(0)], summary(title="first")) == path
    write_report(path, [row(0)], summary(title="second"))
    assert "second" in path.read_text()
    assert os.listdir(path.parent) == ["report.html"]


def test_a_report_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    def rows() -> Iterator[ReportRow]:
        yield row(0)
        raise RuntimeError("the journal is gone")

    path = write_report(tmp_path / "report.html", [row(0)], summary(title="first"))
    with pytest.raises(RuntimeError, match="the journal is gone"):
        write_report(path, rows(), summary(title="second"))
    assert "first" in path.read_text()
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_missing_file_of_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an application that a freezer made without the package's data files."""
    monkeypatch.setattr(page, "files", lambda _: tmp_path)
    monkeypatch.setattr(page, "_asset", page._asset.__wrapped__)
    with pytest.raises(ConfigurationError, match=r"batch/report/page\.css is missing .* --collect-data stepfun_async"):
        write_report(tmp_path / "report.html", [], summary())


def test_pyinstaller_takes_along_what_is_no_module() -> None:
    (folder,) = hook_dirs()
    taken = runpy.run_path(f"{folder}/hook-stepfun_async.py")["datas"]
    assert {Path(file).name for file, _ in taken} == {"page.css", "page.html", "page.js", "icon.svg", "py.typed"}
    for file, place in taken:
        assert Path(file).parts[-len(Path(place).parts) - 1 : -1] == Path(place).parts


def test_a_full_disk_leaves_the_report_before_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write_report(tmp_path / "report.html", [row(0)], summary(title="first"))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(path, [row(0)], summary(title="second"))
    assert "first" in path.read_text()
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_link_in_the_place_of_the_report_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "report.html").symlink_to(tmp_path / "precious")
    report(tmp_path, row(0))
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "report.html").is_symlink()


def test_5000_rows_are_a_small_file_and_need_no_more_memory_than_200(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        rows = (row(place, prompt=f"{place} " + "a lake " * 40, path=f"00/{place}.png") for place in range(count))
        tracemalloc.start()
        write_report(tmp_path / f"{count}.html", rows, summary(), thumbnails=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(50)  # what is read once and kept
    few, many = peak(200), peak(5000)

    size = (tmp_path / "5000.html").stat().st_size
    assert size < 5000 * 550
    assert many < few + 1_000_000 < size


def test_of_more_rows_than_a_page_holds_the_first_of_each_state_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_LISTED_CHARACTERS", 10_000)
    rows = [row(place) for place in range(1000)] + [failed(place) for place in range(1000, 1005)]

    page = report(tmp_path, *rows)

    done = [record["id"] for record in page.records if record["state"] == "done"]
    assert done == [f"{place:06d}" for place in range(len(done))]
    assert 20 < len(done) < 100
    assert [record["id"] for record in page.records if record["state"] == "failed"] == [r.id for r in rows[1000:]]
    assert f"To stay small, this page lists the first {len(done)} of 1,000 done." in said(page)
    assert "Images1,000of 1,005, 99 %" in said(page)


def test_a_class_without_a_listed_row_offers_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LISTED_CHARACTERS", 1)
    page = report(tmp_path, failed(0, "First"), failed(1, "Second"))
    assert "Second1 request" in said(page)
    assert page.values("data-place") == ["0"]
    assert page.values("data-failure") == ["0"]


# --- from a batch ---------------------------------------------------------------------------------------------


def test_a_batch_writes_its_own_report(tmp_path: Path) -> None:
    """With a picture, a filtered one, one that may have been paid for nothing, and a line that is wrong."""
    engine = Engine(plain=True, scenario=Scenario("filtered*1", "500*1"))
    lines = [{"prompt": f"lake {place}", "id": f"lake-{place}"} for place in range(3)]
    batch = Batch(
        [*lines, {"prompt": "", "id": "wrong"}],
        out=tmp_path / "lakes",
        base_url="embedded",
        transport=EmbeddedTransport(engine),
        limits=Limits(max_concurrency=1),
        retry=RetryPolicy(max_attempts=1),
        defaults={"size": "1:1", "seed": 7},
    )
    batch.run_sync()

    path = batch.records.write_report()

    page = read(path)
    assert path == tmp_path / "lakes" / "report.html"
    assert [(record["id"], record["state"], record["error"]) for record in page.records] == [
        ("lake-0", "filtered", "ContentFilteredError"),
        ("lake-1", "unknown", "InternalServerError"),
        ("lake-2", "done", None),
        ("wrong", "failed", "InvalidRequestError"),
    ]
    assert "500: the scenario of the embedded engine says 500*1" in page.records[1]["error_message"]
    done = page.records[2]
    assert (path.parent / unquote(done["source"])).read_bytes().startswith(b"\x89PNG")
    assert (done["prompt"], done["width"], done["attempts"]) == ("lake 2", 1024, 1)
    assert done["parameters"]["seed"] == 7
    assert "lakesFinished" in said(page)
    assert f"Spent{batch.records.status().spent['USD']} USD" in said(page)
    assert f"{batch.records.status().held['USD']} USD more is uncertain" in said(page)


def test_the_report_of_a_batch_that_goes_on_says_so(tmp_path: Path) -> None:
    batch = Batch([{"prompt": "a lake"}] * 3, out=tmp_path / "out", base_url="embedded")
    batch.run_sync()
    status = batch.records.status()
    for changes, told in (
        ({"running": "process 1"}, "running"),
        ({"counts": {**status.counts, "pending": 1}}, "stopped"),
        ({}, "finished"),
    ):
        assert summary_from(dataclasses.replace(status, **changes), title="lakes", made=START).status == told


def test_a_report_elsewhere_names_the_pictures(tmp_path: Path) -> None:
    batch = Batch([{"prompt": "a lake"}], out=tmp_path / "out", base_url="embedded")
    batch.run_sync()
    (record,) = read(batch.records.write_report(tmp_path / "elsewhere" / "lakes.html")).records
    assert record["source"] is None
    assert record["path"] == str(next((tmp_path / "out").rglob("*.png")))


def test_a_report_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    batch = Batch([{"prompt": "a lake"}], out=tmp_path / "out", base_url="embedded")
    batch.run_sync()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match=r"'.*folder' cannot be written: Is a directory"):
        batch.records.write_report(tmp_path / "folder")
    with pytest.raises(JournalError, match="there is no batch"):
        Records(tmp_path).write_report()


# --- sums ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_right_to_one_percent(seconds: list[float], share: float) -> None:
    durations = DurationHistogram()
    for each in seconds:
        durations.add(each)
    exact = next(each for place, each in enumerate(sorted(seconds), 1) if place >= share * len(seconds) - 1e-9)
    assert durations.percentile(share) == pytest.approx(exact, rel=0.01)


@given(st.lists(st.tuples(st.floats(-1e12, 1e12), st.booleans()), max_size=200), st.integers(11, 100))
def test_columns_over_time_have_every_end_and_are_not_too_many(ends: list[tuple[float, bool]], most: int) -> None:
    timeline = Timeline()
    for moment, picture in ends:
        timeline.add(moment, image=picture)
    width, bins = timeline.bins(most)
    possible = [picture for moment, picture in ends if 0 <= moment < 32_503_680_000]
    assert sum(bin_.images for bin_ in bins) == sum(possible)
    assert sum(bin_.others for bin_ in bins) == len(possible) - sum(possible)
    assert not bins or bins[-1].start - bins[0].start < most * width


def test_a_million_moments_are_kept_in_a_thousand_bins() -> None:
    timeline = Timeline()
    for second in range(0, 1_000_000, 5):
        timeline.add(START + second, image=True)
    assert len(timeline._bins) <= 1024
    assert sum(bin_.images for bin_ in timeline.bins(96)[1]) == 200_000


ODD_TIMES = [float("nan"), float("inf"), float("-inf"), -5.0, 0.0, 1e300, 32_503_679_999.0]


@pytest.mark.parametrize("started", ODD_TIMES)
@pytest.mark.parametrize("ended", ODD_TIMES)
def test_odd_clocks_break_nothing(started: float, ended: float) -> None:
    stats = ReportStats()
    stats.add(row(0), 0)
    stats.add(row(1, started=started, ended=ended, seconds=ended), 1)
    before, _ = page_around_records(summary(), stats)
    assert 'class="plot"' in before
