"""The documentation is true: its code runs, its commands print what it says, its tables are the code's."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from docs import house, readme, site, tables
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import stepfun_async
from stepfun_async import AttemptEnded, CallEnded, CallStarted
from stepfun_async._call import record as _calls

from .support.suites import outcomes, run_suite, write_suite

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT) for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
APART = ("local-models.md",)
"""Pages whose code needs torch; `tests/diffusers` runs it."""

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(stepfun_async.__path__, "stepfun_async.")
    if not module.name.endswith("__main__")
)


FILE = re.compile(r"# (\w+\.py)\n")
"""How a code block begins that is a file of a suite of tests, and not a piece of one program."""


def _files(page: Path) -> dict[str, str]:
    """The files on a page, text by name."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return {match[1]: block for block in blocks if (match := FILE.match(block))}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and the embedded engine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEP_BASE_URL", "embedded")
    return tmp_path


WHOLE = {Path("README.md"), *(Path("docs", name) for name in ("index.md", "quickstart.md", "cookbook.md"))}
"""Pages of which each example is a whole program; on the others, an example goes on where the one before ended."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in APART], ids=str)
def test_the_code_on_the_page_runs(page: Path, offline: Path) -> None:
    document = Sybil(
        parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), SkipParser()], path=str(ROOT)
    ).parse(ROOT / page)
    for example in document.examples():
        if not FILE.match(str(example.parsed)):
            if page in WHOLE and isinstance(example.parsed, str):
                document.namespace.clear()
            example.evaluate()


@pytest.mark.parametrize("page", [page for page in PAGES if _files(page) and page.stem != "cookbook"], ids=str)
def test_the_suite_on_the_page_passes(page: Path, tmp_path: Path) -> None:
    """Its files in one folder, run by pytest; each that is for tests has some."""
    files = _files(page)
    write_suite(tmp_path, files)

    done = run_suite(tmp_path, "-vv")

    assert set(outcomes(done)) == {"passed"}, done.stdout + done.stderr
    with_tests = set(re.findall(r"^(\w+\.py)::", done.stdout, re.MULTILINE))
    assert with_tests == {name for name in files if name.startswith("test_")}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    known = {key: getattr(stepfun_async, key) for key in stepfun_async.__all__}
    from stepfun_async._core import registry

    table = dict(registry._table)
    try:
        failed, _ = doctest.testmod(module, extraglobs=known, optionflags=doctest.ELLIPSIS)
    finally:
        registry._table.clear()
        registry._table.update(table)
    assert failed == 0


def _sessions(text: str) -> list[tuple[str, list[str]]]:
    """The commands of console blocks, each with the lines printed below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip() and found:
                found[-1][1].append(line.rstrip())
    return found


@pytest.mark.parametrize("page", [Path("README.md")], ids=str)
def test_the_commands_on_the_page_work_in_order(page: Path, offline: Path) -> None:
    """In one folder, one after another, each printing what the page says."""
    environment = {**os.environ, "COLUMNS": "120"}
    for command, said in _sessions((ROOT / page).read_text()):
        words = shlex.split(command, comments=True)
        if words[0] != "stepfun-async" or words[1] == "serve":
            continue
        run = [sys.executable, "-m", "stepfun_async.cli", *words[1:]]
        done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
        assert "Traceback" not in done.stderr, done.stderr
        if said:
            assert done.returncode == 0, done.stderr
            assert done.stdout.rstrip().splitlines() == said


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_the_tables_on_the_page_are_the_codes(page: Path) -> None:
    """`make docs` writes them anew."""
    assert page.read_text() == tables.pages()[page]


def test_the_drawing_of_the_package_is_the_codes() -> None:
    """`make docs` draws it anew."""
    for page, text in house.pages().items():
        assert page.read_text() == text


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        if target.startswith("reference/"):  # made with the site
            assert target.removeprefix("reference/").removesuffix(".md") in site.reference()
        else:
            assert (ROOT / page.parent / target).exists(), target


def test_every_public_name_is_on_one_page_of_the_reference() -> None:
    names = [name for page in site.reference().values() for name in page]
    assert {f"stepfun_async.{name}" for name in stepfun_async.__all__} <= set(names)
    assert len(names) == len(set(names))


def test_a_broken_link_of_the_site_is_found(tmp_path: Path) -> None:
    """A page, an anchor, an image and a file from elsewhere."""
    (tmp_path / "a.html").write_text('<a href="b.html#there"></a><a href="#top"></a><img src="a.png"><h1 id="top">')
    (tmp_path / "b.html").write_text('<a id="there" href="a.html#gone"></a><a href="c.html"></a><a href="a.html"></a>')
    assert sorted(site.broken_links(tmp_path)) == ["a.html: a.png", "b.html: a.html#gone", "b.html: c.html"]


def test_links_into_the_repository_lead_to_pages_or_to_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    page = "[a](batch.md#x) [b](../CHANGELOG.md) [c](../README.md) [d](../src/x.py) ![e](demo.png) [f](https://a.b)"
    assert site.relinked(page, site.DOCS) == (
        "[a](batch.md#x) [b](changelog.md) [c](index.md) d ![e](demo.png) [f](https://a.b)"
    )
    monkeypatch.setattr(site, "HOME", "https://example.org")
    assert "[d](https://example.org/src/x.py)" in site.relinked(page, site.DOCS)
    assert site.relinked("[a](docs/batch.md#x)", ROOT) == "[a](batch.md#x)"


def test_the_packages_page_has_absolute_links_or_none() -> None:
    """As README.md has them, they would lead nowhere there."""
    text = "See [Models](docs/models.md#a) and [this](#here), [that](https://a.b). ![A lake](docs/demo.png)"
    assert readme.absolute(text, "") == "See Models and [this](#here), [that](https://a.b). "
    assert readme.absolute(text, "https://example.org/x") == (
        "See [Models](https://example.org/x/docs/models.md#a) and [this](#here), [that](https://a.b). "
        "![A lake](https://example.org/x/docs/demo.png?raw=true)"
    )


def test_every_error_names_its_place_in_the_reference() -> None:
    """`make site` finds the page broken if the anchor is not there."""
    names = {name for name in stepfun_async.__all__ if name.endswith("Error")}
    assert names <= {name.removeprefix("stepfun_async.") for name in site.reference()["errors"]}
    assert stepfun_async.RateLimitError.help_page == "reference/errors.html#stepfun_async.RateLimitError"


def test_readme_names_every_error() -> None:
    readme = (ROOT / "README.md").read_text()
    bases = {"APIError", "APIStatusError"}
    leaves = {name for name in stepfun_async.__all__ if name.endswith("Error")} - bases
    assert [name for name in sorted(leaves) if name not in readme] == []


def test_the_page_on_observability_names_every_field() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    events = {field.name for event in (CallStarted, AttemptEnded, CallEnded) for field in dataclasses.fields(event)}
    logged = {f"stepfun_{name}" for name in _calls._FIELDS}
    assert [name for name in sorted(events | logged) if f"`{name}`" not in page] == []


def test_the_demo_makes_three_images(offline: Path) -> None:
    run = [sys.executable, str(ROOT / "docs" / "examples" / "demo.py"), "pictures"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    names = sorted(path.name for path in (offline / "pictures").iterdir())
    assert names == ["1-lake.png", "2-morning.png", "3-poster.png"]
    assert all(str(offline / "pictures" / name) in done.stdout for name in names)
    assert "would have cost 0.026 USD" in done.stdout
