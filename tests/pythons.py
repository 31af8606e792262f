"""The quick part of the tests on every supported Python: `make pythons`, which CI runs too.

An interpreter is the machine's own, one of its version manager, or, on Debian, that of the newest suite, which is
unpacked into a folder with its own C library and touches nothing of the machine. What cannot be had is named and
skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-pythons"
TOOLS = HOME / "tools" / "bin"

VERSIONS = ("3.12", "3.13", "3.14")
"""Besides 3.11, on which `make pytest` runs everything."""

EXTRAS = "cli,socks,trio"
PACKAGES = ("hypothesis", "openai", "pytest", "respx", "trustme", "uvloop")

QUICK = (
    "tests/batch/journal",
    "tests/call/test_save.py",
    "tests/cli/test_generate.py",
    "tests/core/test_errors.py",
    "tests/core/test_results.py",
    "tests/runtime",
    "tests/test_client.py",
)
"""What depends most on the interpreter: files, loops, processes, clients, and values that are copied and pickled."""

_SUITE = "sid"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT = """\
Dir::Etc "{home}/etc"; Dir::Cache "{home}/cache"; Dir::State "{home}/state"; Dir::State::status "{home}/state/status";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
"""


class AbsentError(Exception):
    """An interpreter, or what its tests need, cannot be had here."""


def main(versions: tuple[str, ...]) -> int:
    """Run the quick tests on each version, one after another; how many of them failed."""
    failed: list[str] = []
    with ThreadPoolExecutor(len(versions)) as threads:  # the next is set up while one runs
        environments = [threads.submit(environment, version) for version in versions]
        for version, made in zip(versions, environments, strict=True):
            try:
                failed += [version] if tested(made.result()) else []
            except AbsentError as reason:
                print(f"Python {version}: skipped, {reason}", flush=True)
    return len(failed)


def tested(python: Path) -> int:
    """Run the quick tests in an environment; pytest's exit code."""
    version = _said([str(python), "--version"])
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *(name for name in QUICK if (ROOT / name).exists()),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{version}: {(done.stdout.strip().splitlines() or ['no tests'])[-1]}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, flush=True)
    return done.returncode


def environment(version: str) -> Path:
    """The Python of an environment with the package and what the tests need."""
    found = next((path for path in interpreters(version) if _responses(path)), None)
    interpreter = found or from_debian(version)
    folder = HOME / version
    _uv("venv", "--clear", "--python", str(interpreter), str(folder))
    python = folder / "bin" / "python"
    _uv("pip", "install", "--python", str(python), "--editable", f"{ROOT}[{EXTRAS}]", *PACKAGES)
    return python


def _uv(*arguments: str) -> None:
    """Run uv with the certificates of the machine and the index of its pip."""
    index = {"UV_DEFAULT_INDEX": url} if (url := os.environ.get("PIP_INDEX_URL")) else {}
    _run([str(TOOLS / "uv"), *arguments, "--quiet", "--system-certs"], env={**os.environ, **index})


def interpreters(version: str) -> Iterator[Path]:
    """Where this machine may have a version: on the path, or with pyenv or uv."""
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    managed = Path.home() / ".local" / "share" / "uv" / "python"
    for folder, pattern in ((pyenv, f"{version}.*/bin/python"), (managed, f"cpython-{version}.*/bin/python")):
        yield from sorted(folder.glob(pattern), reverse=True)


def from_debian(version: str) -> Path:
    """An interpreter of Debian's newest suite, unpacked into a folder of ours.

    Raises:
        AbsentError: this is no Debian, or its archive cannot be reached or has no such version.
    """
    python = HOME / f"debian-{version}" / "root" / "usr" / "bin" / f"python{version}"
    if _responses(python):
        return python
    if not (_KEYRING.exists() and shutil.which("apt-get") and shutil.which("dpkg")):
        raise AbsentError("not on this machine, which is no Debian")
    home = HOME / f"debian-{version}"
    shutil.rmtree(home, ignore_errors=True)
    _unpack(version, home, _private_apt(home))
    _made_to_run(python, home / "root")
    return python


def _private_apt(home: Path) -> dict[str, str]:
    """The environment of an apt that knows the newest suite only, and keeps all it has in `home`."""
    for name in (
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/sources.list.d",
        "state/lists/partial",
        "cache/archives/partial",
        "root",
        "debs",
    ):
        (home / name).mkdir(parents=True)
    (home / "state" / "status").touch()
    (home / "etc" / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {_SUITE} main\n")
    (home / "apt.conf").write_text(_APT.format(home=home))
    return {**os.environ, "APT_CONFIG": str(home / "apt.conf")}


def _mirror() -> str:
    """The archive that this machine's own apt uses."""
    listed = _said(["apt-get", "indextargets", "--format", "$(SITE)|$(REPO_URI)"]).splitlines()
    uris = [line.partition("|")[2].rstrip("/") for line in listed]
    return next((uri for uri in uris if uri.endswith("/debian")), "http://deb.debian.org/debian")


def _unpack(version: str, home: Path, apt: dict[str, str]) -> None:
    _run(["apt-get", "-qq", "update"], env=apt)
    planned = _said(["apt-get", "install", "--simulate", "--yes", f"python{version}", "libstdc++6"], env=apt)
    packages = [line.split()[1] for line in planned.splitlines() if line.startswith("Inst ")]
    _run(["apt-get", "-qq", "download", *packages], env=apt, cwd=home / "debs")
    for package in (home / "debs").glob("*.deb"):
        _run(["dpkg", "--extract", str(package), str(home / "root")])


def _made_to_run(python: Path, root: Path) -> None:
    """Have an interpreter load the C library that it was built with, which lies beside it."""
    loader = next(root.glob("usr/lib*/ld-linux-*.so.*"))
    libraries = next(root.glob("usr/lib/*-linux-gnu"))
    options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries)]
    _run([str(TOOLS / "patchelf"), *options, str(python)])


def _responses(python: Path) -> bool:
    try:
        return (
            subprocess.run([python, "-c", "import ssl, sqlite3, venv"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


def _run(command: list[str], *, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise AbsentError(f"{Path(command[0]).name} says: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def _said(command: list[str], *, env: dict[str, str] | None = None) -> str:
    return _run(command, env=env).strip()


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or VERSIONS))
