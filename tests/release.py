"""What has to hold before a release: `make release-check`. It builds and tries the archives, and uploads nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from stepfun_async._core.version import __version__
from tests.pythons import VERSIONS

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "release"

_HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?$", re.MULTILINE)
_PRODUCTS = re.compile(r"(^|/)(__pycache__|build|dist|\.coverage[^/]*|[^/]*\.egg-info)(/|$)|\.(pyc|whl|so|log)$")
"""Names of what is made from the source, and never kept with it."""


def main() -> int:
    """Print all that speaks against a release; 0 if nothing does."""
    problems = [*changelog_problems(), *repository_problems(), *archive_problems()]
    for problem in problems:
        print(f"not ready: {problem}")
    if not problems:
        print(f"{__version__} is ready: {', '.join(sorted(path.name for path in OUT.iterdir() if path.is_file()))}")
    return 1 if problems else 0


def changelog_problems(text: str | None = None, version: str = __version__) -> Iterator[str]:
    """Yield where the changelog and the version disagree."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8") if text is None else text
    sections = _sections(text)
    if sections.get("Unreleased", ("", ""))[1]:
        yield "CHANGELOG.md has changes under [Unreleased]: move them to the version"
    day, changes = sections.get(version, (None, ""))
    if day is None:
        yield f"CHANGELOG.md has no section [{version}], which is the version in _core/version.py"
    elif not _is_day(day):
        yield f"[{version}] in CHANGELOG.md has the date {day!r}; allowed: YYYY-MM-DD, as 2026-11-30"
    elif not changes:
        yield f"[{version}] in CHANGELOG.md is empty"
    released = [name for name in sections if name != "Unreleased"]
    if released and released[0] != version:
        yield f"the newest section of CHANGELOG.md is [{released[0]}], and the version {version}"


def _sections(text: str) -> dict[str, tuple[str, str]]:
    """Return the date and the text of each section by its name, the newest first."""
    parts = list(_HEADING.finditer(text))
    ends = [part.start() for part in parts[1:]] + [len(text)]
    return {
        part["name"]: (part["date"] or "", text[part.end() : end].strip())
        for part, end in zip(parts, ends, strict=True)
    }


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def repository_problems() -> Iterator[str]:
    """Yield what is not committed, committed though it is made from the source, or tagged otherwise."""
    if changed := _git("status", "--porcelain"):
        yield f"there are changes that are not committed: {changed.splitlines()[0].strip()}"
    yield from (f"{name} is made from the source, and is in git" for name in products())
    tags = _git("tag", "--points-at", "HEAD").split()
    if tags and f"v{__version__}" not in tags:
        yield f"HEAD has the tag {tags[0]}; the version's is v{__version__}"
    if not tags and f"v{__version__}" in _git("tag").split():
        yield f"the tag v{__version__} is on another commit: raise the version in _core/version.py"


def products() -> list[str]:
    """Return the files in git that are made from others."""
    return [name for name in _git("ls-files").splitlines() if _PRODUCTS.search(name)]


def classifier_problems() -> Iterator[str]:
    """Yield Pythons that are claimed and not run, or run and not claimed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    claimed = {name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)}
    for version in sorted(claimed ^ {"3.11", *VERSIONS}):
        yield f"Python {version} is claimed by a classifier or run by CI, not both"


def archive_problems() -> Iterator[str]:
    """Build both archives, and yield what is wrong with them."""
    yield from classifier_problems()
    shutil.rmtree(OUT, ignore_errors=True)
    python = sys.executable
    steps = [[python, "-m", "build", "--outdir", str(OUT), str(ROOT)]]
    steps.append([python, "-m", "venv", str(OUT / "plain")])
    pip = [str(OUT / "plain" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for step in steps:
        if problem := _failure(step):
            yield problem
            return
    (wheel,), (source,) = OUT.glob("*.whl"), OUT.glob("*.tar.gz")
    tried = [str(OUT / "plain" / "bin" / "python"), "-P", "-W", "error", str(ROOT / "tests" / "wheel.py"), "plain"]
    for step in ([python, "-m", "twine", "check", "--strict", str(wheel), str(source)], [*pip, str(wheel)], tried):
        if problem := _failure(step):
            yield problem
    yield from _wrong_names(wheel, source)


def _wrong_names(wheel: Path, source: Path) -> Iterator[str]:
    for archive in (wheel, source):
        if f"-{__version__}" not in archive.name:
            yield f"{archive.name} is not of version {__version__}"
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    allowed = ("stepfun_async/", f"stepfun_async-{__version__}.dist-info/")
    yield from (f"{name} is in the wheel" for name in names if not name.startswith(allowed) or _PRODUCTS.search(name))
    with tarfile.open(source) as packed_source:
        yield from (f"{name} is in the source archive" for name in packed_source.getnames() if _PRODUCTS.search(name))


def _failure(command: list[str]) -> str | None:
    done = subprocess.run(
        command, cwd=OUT.parent if OUT.parent.is_dir() else ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"{' '.join(command[:4])} ... says: {said[-1] if said else f'exit code {done.returncode}'}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
