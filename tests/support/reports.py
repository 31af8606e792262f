"""Rows and reports for the tests of the batch report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from stepfun_async import Client
from stepfun_async._core.money import Money
from stepfun_async.batch.report import ReportRow, ReportSummary

START = 1_764_079_320.0
"""2025-11-25 14:02 UTC."""

PRICE = Money(Decimal("0.003"), "USD")

HOSTILE = (
    "</script><script>pwned = 1</script>",
    "<!-- <script> -->",
    "]]><img src=x onerror='pwned = 1'>",
    "\"'><svg onload=pwned=1>",
    "{{records}} {{script}} ${pwned = 1} &lt;b&gt; &amp;",
    "\u202eright to left\u2066\u2069\u200f",
    "a family \U0001f468\u200d\U0001f469\u200d\U0001f467, a flag \U0001f1e8\U0001f1f3",
    "NUL \0, bell \a, escape \x1b[31m, delete \x7f, line\u2028paragraph\u2029",
    "half \ud800 of a pair, the other \udc00, backslash \\\ud800",
    "an alpine lake " * 667,
    "__proto__",
    "",
)
"""Texts that a page can break on."""


def row(place: int, state: Any = "done", **more: Any) -> ReportRow:
    """The row of a request that was sent in its second."""
    started, seconds = more.get("started", START + place), more.get("seconds", 2.0)
    facts: dict[str, Any] = {
        "prompt": f"lake number {place}",
        "model": "step-image-edit-2",
        "operation": "text_to_image",
        "parameters": {"size": "1024x1024", "steps": 8},
        "started": started,
        "ended": None if started is None or seconds is None else started + seconds,
        "seconds": seconds,
        "attempts": 1,
        "maybe_billed": 1,
        "cost": (PRICE,),
        "trace_id": f"trace-{place}",
    }
    return ReportRow(id=f"{place:06d}", state=state, **{**facts, **more})


def failed(place: int, error: str = "RateLimitError", **more: Any) -> ReportRow:
    """The row of a request that the server refused."""
    facts = {"error": error, "error_message": "slow down", "cost": (), "maybe_billed": 0, **more}
    return row(place, "failed", **facts)


def summary(**more: Any) -> ReportSummary:
    return ReportSummary(**{"title": "lakes", "made": START + 3600, **more})


def pictures(folder: Path, count: int) -> Iterator[ReportRow]:
    """Real pictures in `folder`, and their rows."""
    with Client(base_url="embedded") as client:
        for place in range(count):
            path = folder / f"{place:02x}" / f"{place:06d}.png"
            done = client.images.generate(
                f"lake number {place}", model="step-2x-large", size="256x256", seed=place + 1, save_to=path
            ).image
            yield row(place, path=path, width=done.width, height=done.height, seed=done.seed, bytes=path.stat().st_size)


# --- reading a page back --------------------------------------------------------------------------

_VOID = frozenset({"meta", "link", "input"})


@dataclass
class Page(HTMLParser):
    """What a page is made of.

    Attributes:
        elements: the names of all elements, in their order.
        attributes: all attributes, in the same order.
        open: the elements that are not closed.
        wrong: end tags that close nothing, or something else.
        text: what is in no script and no style.
        scripts: what is in each script.
    """

    elements: list[str] = field(default_factory=list)
    attributes: list[dict[str, str | None]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    text: str = ""
    scripts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes.append(dict(attrs))
        if tag == "script":
            self.scripts.append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text += data

    def values(self, name: str) -> list[str]:
        """What an attribute is, wherever it is."""
        return [str(each[name]) for each in self.attributes if name in each]

    @property
    def data(self) -> list[Any]:
        """What the scripts hold that are only data."""
        kinds = [
            each.get("type") for name, each in zip(self.elements, self.attributes, strict=True) if name == "script"
        ]
        return [json.loads(text) for kind, text in zip(kinds, self.scripts, strict=True) if kind == "application/json"]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows listed, by the names of their fields."""
        about, *blocks = self.data
        return [dict(zip(about["fields"], record, strict=False)) for block in blocks for record in block]


def read(path: Path) -> Page:
    """The page at `path`."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page
