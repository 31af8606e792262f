"""Builds the documentation site into build/site/html: `make site`.

The pages are those of this folder, the changelog and the security policy, and a reference of every public name.
Zensical makes HTML of them; a warning of it ends the build. Then every link, anchor and image of the site is
checked.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import stepfun_async

from .tables import ROOT

DOCS = ROOT / "docs"
BUILD = ROOT / "build" / "site"
PAGES, HTML = BUILD / "pages", BUILD / "html"

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Start": ("index", "quickstart", "cookbook", "from-openai"),
    "Servers": ("servers", "gateways", "embedded", "local-models"),
    "Guides": ("models", "images", "limits", "shared-limits", "failures", "observability", "testing", "performance"),
    "Batches": ("batch", "cluster"),
    "Tools": ("cli", "mcp", "schemas"),
    "Project": ("platforms", "contributing", "changelog", "security"),
}
"""The navigation. A page that stands nowhere is a guide."""

REFERENCE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "clients": ("Clients", ("_client", "_call.outcomes")),
    "requests": ("Requests", ("_core.requests", "_core.sizes", "_core.problems", "_core.schemas")),
    "results": ("Results", ("_core.results",)),
    "models": (
        "Models and servers",
        ("_core.capabilities", "_core.registry", "_core.profiles", "_core.servers", "_core.money", "_core.inspection"),
    ),
    "limits": ("Limits, money and retries", ("_limits", "_core.retry")),
    "errors": ("Errors and warnings", ("_core.errors",)),
    "events": ("Events", ("_core.events",)),
}
"""The pages of the reference: a title, and the modules whose public names they have."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "clients": (
        "stepfun_async._client.images.AsyncImages",
        "stepfun_async._client.models.AsyncModels",
        "stepfun_async._client.models.AsyncAccount",
        "stepfun_async._client.server.AsyncServer",
    ),
}
"""What is public through an attribute, by the page that has it."""

MODULES: Mapping[str, str] = {
    "batch": "Batches",
    "dask": "Clusters",
    "diffusers": "Local models",
    "embedded": "Embedded engine",
    "mcp": "MCP server",
    "otel": "OpenTelemetry",
    "redis": "Shared limits",
    "testing": "Testing",
}
"""The public modules, each with a page of its own, if there is such a module."""

OUTSIDE: Mapping[str, str] = {"CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
"""Files outside this folder that are pages of the site."""

HOME = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["metadata"]["hooks"][
    "custom"
]["home"]
"""Where the repository's files are on the web, for links out of the site; empty until there is a public home."""


def build() -> None:
    """Write the pages, make HTML of them, and check every link.

    Raises:
        SystemExit: a page is not in order.
    """
    shutil.rmtree(BUILD, ignore_errors=True)
    _write_sources()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(  # noqa: S603 - this program itself
        command, cwd=BUILD, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode or "Warning" in done.stderr:
        raise SystemExit(f"the site is not built:\n{done.stdout}{done.stderr}")
    broken = sorted([*broken_links(HTML), *_missing_errors(HTML)])
    if broken:
        raise SystemExit("\n".join(["links that lead nowhere:", *broken]))
    sys.stdout.write(f"{len(list(HTML.rglob('*.html')))} pages: {HTML / 'index.html'}\n")


def _write_sources() -> None:
    """Write what Zensical reads: the pages, the files beside them, and its settings with the navigation."""
    for name, text in pages().items():
        (PAGES / name).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / name).write_text(text, encoding="utf-8")
    for file in (*DOCS.glob("*.png"), *DOCS.glob("*.ipynb"), DOCS / "site.css"):
        shutil.copy(file, PAGES)
    shutil.copytree(DOCS / "schemas", PAGES / "schemas", dirs_exist_ok=True)
    settings = (DOCS / "zensical.toml").read_text(encoding="utf-8")
    whole = settings.replace("[project]\n", f"[project]\n{_navigation()}\n", 1)
    (BUILD / "zensical.toml").write_text(whole, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every page of the site, by its path."""
    sources = {path.name: path for path in DOCS.glob("*.md")} | {name: ROOT / path for path, name in OUTSIDE.items()}
    found = {name: relinked(path.read_text(encoding="utf-8"), path.parent) for name, path in sources.items()}
    return found | {"schemas/index.md": _schemas()} | dict(_reference())


def _schemas() -> str:
    """A list of the published schemas."""
    names = sorted(path.name for path in (DOCS / "schemas").glob("*.json"))
    return "\n".join(["# Published schemas", "", *(f"* [{name}]({name})" for name in names), ""])


_LINK = re.compile(r"!?\[((?:[^\]\[]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def relinked(text: str, folder: Path) -> str:
    """A page whose links to other files of the repository lead to their pages, or to the repository's home."""

    def relink(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[2])).relative_to(ROOT).as_posix()
        page = {"README.md": "index.md", **OUTSIDE}.get(target, target.removeprefix("docs/"))
        if page != target:
            return link[0].replace(f"({link[2]}", f"({page}")
        return link[0].replace(f"({link[2]}", f"({HOME}/{target}") if HOME else link[1]

    return _LINK.sub(relink, text)


def reference() -> dict[str, tuple[str, ...]]:
    """The public names of the package, by the page of the reference that has them; each is on one page."""
    by_page: dict[str, list[str]] = {page: [] for page in REFERENCE}
    for name, home in vars(stepfun_async)["_HOME_OF"].items():
        by_page.setdefault(_page_of(name, home), []).append(f"stepfun_async.{name}")
    for module in MODULES:
        if find_spec(f"stepfun_async.{module}"):
            names = by_page.setdefault(module, [])
            public: Iterable[str] = importlib.import_module(f"stepfun_async.{module}").__all__
            names += [f"stepfun_async.{module}.{name}" for name in public if f"stepfun_async.{name}" not in names]
    return {page: (*names, *GROUPS.get(page, ())) for page, names in by_page.items()}


def _page_of(name: str, home: str) -> str:
    """The page for a name that lives in the module `home`."""
    if home.startswith("_") and name.endswith(("Error", "Warning")):
        return "errors"
    pages = [page for page, (_, homes) in REFERENCE.items() if home.startswith(homes)]
    room = home.partition(".")[0]
    return pages[0] if pages else "more" if room.startswith("_") else room


def _reference() -> Iterator[tuple[str, str]]:
    for page, names in reference().items():
        title = REFERENCE[page][0] if page in REFERENCE else MODULES.get(page, "More")
        blocks = [f"::: {name}{_OWN_ONLY if page == 'errors' else ''}" for name in _ordered(page, names)]
        yield f"reference/{page}.md", "\n\n".join([f"# {title}", *blocks]) + "\n"


_OWN_ONLY = "\n    options:\n      inherited_members: false"
"""For classes that all have what their base has."""


def _ordered(page: str, names: Iterable[str]) -> list[str]:
    """The names of a page in the order of reading: of errors, a base before what is derived from it."""
    if page != "errors":
        return list(names)
    classes: list[type] = [getattr(stepfun_async, name.rpartition(".")[2]) for name in names]
    ways = {each: [base.__name__ for base in reversed(each.__mro__) if base in classes] for each in classes}
    return [
        f"stepfun_async.{each.__name__}"
        for each in sorted(classes, key=lambda each: (issubclass(each, Warning), ways[each]))
    ]


def _navigation() -> str:
    """The `nav` of Zensical's settings."""
    there = {Path(path).stem for path in pages() if "/" not in path}
    placed = {name for names in SECTIONS.values() for name in names}
    sections = {title: [name for name in names if name in there] for title, names in SECTIONS.items()}
    sections["Guides"] += sorted(there - placed)
    parts = [
        f"    {{ {_quoted(title)} = [{', '.join(_quoted(f'{name}.md') for name in names)}] }},"
        for title, names in sections.items()
    ]
    api = ", ".join(_quoted(f"reference/{page}.md") for page in reference())
    parts.insert(-1, f'    {{ "Reference" = [{api}] }},')
    return "nav = [\n" + "\n".join(parts) + "\n]"


def _quoted(text: str) -> str:
    return f'"{text}"'


class _Page(HTMLParser):
    """What a page of the site links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the links and anchors of a tag."""
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if values.get("rel") != "canonical":
            self.links += [values[name] for name in ("href", "src") if name in values]


def broken_links(root: Path) -> Iterator[str]:
    """Every link of the pages below `root` that leads nowhere."""
    found = {path: _Page(path.read_text(encoding="utf-8")) for path in root.rglob("*.html")}
    for path, page in found.items():
        for link in page.links:
            if not _leads_somewhere(link, path, root, found):
                yield f"{path.relative_to(root)}: {link}"


def _missing_errors(root: Path) -> Iterator[str]:
    """Every error whose `help_page` is not there."""
    anchors = {
        path.relative_to(root).as_posix(): _Page(path.read_text(encoding="utf-8")).anchors
        for path in root.rglob("*.html")
    }
    for error in {*_errors(stepfun_async.StepFunError)}:
        page, _, anchor = error.help_page.partition("#")
        if anchor not in anchors.get(page, ()):
            yield f"{error.__name__}.help_page: {error.help_page}"


def _errors(base: type[stepfun_async.StepFunError]) -> Iterator[type[stepfun_async.StepFunError]]:
    yield base
    for each in base.__subclasses__():
        yield from _errors(each)


def _leads_somewhere(link: str, path: Path, root: Path, found: Mapping[Path, _Page]) -> bool:
    if re.match(r"(https?:)?//|mailto:|data:|javascript:", link):
        return True
    place, _, anchor = unquote(link).partition("#")
    target = (root / place[1:] if place.startswith("/") else path.parent / place).resolve() if place else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return path.name == "404.html"  # its links are relative to wherever it is shown
    return not anchor or target not in found or anchor in found[target].anchors or anchor.startswith("__")


if __name__ == "__main__":
    build()
