"""Cases, clients, rounds: A B C, A B C, so that whatever else the machine does falls on all of them alike.

Every measurement is a fresh process on one CPU, the server another one on another CPU.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from .before import extract
from .cases import BEFORE, Case
from .clients import CLIENTS
from .gauges import LONGEST, Figures
from .measure import Task

Measured: TypeAlias = Figures | str
"""What one round found, or how it failed."""

PATIENCE = LONGEST + 60.0
"""Seconds a process may take; a fan-out of 100,000 requests is given ten times that."""


@dataclass
class Results:
    """Everything that one run found.

    Attributes:
        made: when, in UTC.
        machine: what it ran on.
        versions: of the clients and what they stand on.
        found: by case and client, one entry a round.
    """

    made: str
    machine: Mapping[str, Any]
    versions: dict[str, str]
    found: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        return cls(**json.loads(text))

    def rounds(self, case: str, client: str, figure: str) -> list[float]:
        """The figure in each round that did not fail."""
        rounds = self.found.get(case, {}).get(client, [])
        return [found[figure] for found in rounds if not isinstance(found, str) and figure in found]

    def value(self, case: str, client: str, figure: str) -> float | None:
        """The median of the rounds; None where it was not measured."""
        found = self.rounds(case, client, figure)
        return median(found) if found else None

    def ratio(self, case: str, figure: str, client: str, other: str) -> float | None:
        """How many times `other`'s figure `client`'s is; None where it was not measured.

        It is the median of the ratios within each round. Seconds lie between the two halves of such a
        ratio, so that it moves less than the figures do where the machine is not quiet.
        """
        clients = self.found.get(case, {})
        rounds = zip(clients.get(client, ()), clients.get(other, ()), strict=False)  # one may be left out
        pairs = [(one, two) for one, two in rounds if not isinstance(one, str) and not isinstance(two, str)]
        ratios = [one[figure] / two[figure] for one, two in pairs if two.get(figure)]
        return median(ratios) if ratios else None

    def failure(self, case: str, client: str) -> str | None:
        """How the client failed in every round; None when there was one in which it did not."""
        rounds = self.found.get(case, {}).get(client, [])
        failures = [found for found in rounds if isinstance(found, str)]
        return failures[0] if failures and len(failures) == len(rounds) else None


@dataclass(frozen=True)
class Cpus:
    """The CPUs to stay on; None for any, where there is one only or the system cannot be asked."""

    server: int | None
    client: int | None

    @classmethod
    def of_this_machine(cls) -> Cpus:
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return cls(allowed[0], allowed[-1]) if len(allowed) > 1 else cls(None, None)


def run(
    cases: Sequence[Case],
    *,
    clients: Sequence[str],
    before: str | None,
    rounds: int,
    seconds: float | None,
    tell: Callable[[str], None],
    keep: Callable[[Results], None],
) -> Results:
    """Measure.

    Args:
        cases: what.
        clients: with which clients, of those that a case has; all when empty. What is not installed is left out.
        before: the revision of this package that is measured beside the present one, where the clone has it.
        rounds: how often, at most.
        seconds: how long calls are counted; each case's own when None.
        tell: called with each case's name before it is measured, and with what failed.
        keep: called after each case with what was found so far.
    """
    _compile()
    cpus = Cpus.of_this_machine()
    results = Results(datetime.now(UTC).isoformat(timespec="seconds"), _machine(cpus), _versions())
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        sources: dict[str, str] = {}
        if before:
            if source := extract(before, Path(folder)):
                sources[BEFORE] = str(source)
                results.versions[BEFORE] = before
            else:
                tell(f"git finds no revision {before} here: measured without it")
        for number, case in enumerate(cases, 1):
            taking_part = [client for client in case.clients if client != BEFORE or client in sources]
            chosen = [client for client in taking_part if _takes_part(client, clients)]
            tell(f"{number}/{len(cases)} {case.name}: {', '.join(chosen)}")
            try:
                with serving(case, cpus, folder) as url:
                    whole = Task(case, "", seconds or case.seconds, url, folder, cpus.client)
                    tasks = [replace(whole, client=client, source=sources.get(client)) for client in chosen]
                    results.found[case.name] = _interleaved(tasks, min(rounds, case.rounds))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                tell(f"{case.name} failed: {error!r}")
            for client in chosen:
                if failure := results.failure(case.name, client):
                    tell(f"{case.name}, {client} failed: {failure}")
            keep(results)
    return results


def _compile() -> None:
    """Have the bytecode of our own modules ready, as installed packages have theirs."""
    for package in ("stepfun_async", "benchmarks"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            compileall.compile_dir(folder, quiet=2)


def _interleaved(tasks: Sequence[Task], rounds: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {task.client: [] for task in tasks}
    for _ in range(rounds):
        for task in tasks:
            found[task.client].append(measured(task))
    return found


def _takes_part(client: str, chosen: Sequence[str]) -> bool:
    return (not chosen or client in chosen) and (client not in CLIENTS or version_of(client) is not None)


def version_of(client: str) -> str | None:
    """The version of a client that is installed; None where it is not, `""` where there is nothing to install."""
    package = CLIENTS[client].package
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return None


def _versions() -> dict[str, str]:
    """Of every client, and of what they stand on."""
    packages = {client.package for client in CLIENTS.values() if client.package}
    found = {}
    for package in sorted(packages | {"anyio", "h11", "httpcore", "httpx2", "pydantic", "uvloop"}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine(cpus: Cpus) -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpus": os.cpu_count(),
        "server_cpu": cpus.server,
        "client_cpu": cpus.client,
        "load": os.getloadavg()[0],
    }


def measured(task: Task) -> Measured:
    """What a fresh process finds."""
    command = PROGRAMS.get(task.case.kind, _measure)(task)
    environment = environment_for(task.case, task.folder)
    if task.source is not None:
        environment["PYTHONPATH"] = task.source
    patience = PATIENCE * (10 if task.case.count else 1)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"took more than {patience:g} seconds"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    try:
        figures: Figures = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return f"printed no figures, but {done.stdout[-80:]!r}"
    return {name: float(f"{figure:.5g}") for name, figure in figures.items() if not isnan(figure)}


@contextmanager
def serving(case: Case, cpus: Cpus, folder: str) -> Iterator[str]:
    """A server for the case, where its kind needs one; its base URL.

    Args:
        case: what it serves.
        cpus: where it stays.
        folder: where its certificate goes.
    """
    if case.kind not in SERVED:
        yield ""
        return
    options = ["--side", str(case.side), "--latency", str(case.latency)]
    options += ["--in-flight", str(case.in_flight)] if case.kind in ("load", "threads") else []
    options += ["--links"] if case.links else []
    options += ["--certificate", str(_certificate(Path(folder)))] if case.tls else []
    options += ["--http2"] if case.http2 else []
    options += ["--cpu", str(cpus.server)] if cpus.server is not None else []
    command = [sys.executable, "-m", "benchmarks.server", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def _certificate(folder: Path) -> Path:
    """A file with key and certificate for this machine; beside it what clients are to trust."""
    import trustme

    path = folder / "server.pem"
    if not path.exists():
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / _AUTHORITY))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def environment_for(case: Case, folder: str) -> dict[str, str]:
    """This environment without proxies, keys and other people's certificates."""
    unwanted = ("PROXY", "PYTHONDONTWRITEBYTECODE", "SSL_CERT", "STEP", "OPENAI", "GOOGLE", "GEMINI", "LITELLM")
    kept = {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in unwanted)}
    trusted = {"SSL_CERT_FILE": str(Path(folder) / _AUTHORITY)} if case.tls else {}
    return {**kept, **trusted, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONHASHSEED": "0"}


_AUTHORITY = "authority.pem"

SERVED = ("load", "threads", "first", "second")
"""The kinds of case that need a server."""


def _measure(task: Task) -> list[str]:
    return [sys.executable, "-m", "benchmarks.measure", task.to_json()]


def _first(task: Task) -> list[str]:
    cpu = "any" if task.cpu is None else str(task.cpu)
    return [sys.executable, "-m", "benchmarks.first", task.client, task.url, str(time.monotonic()), cpu]


def _import(task: Task) -> list[str]:
    pin = f"import os; os.sched_setaffinity(0, {{{task.cpu}}})" if task.cpu is not None else ""
    return [sys.executable, "-c", _IMPORT.format(pin=pin, statement=CLIENTS[task.client].imports[task.case.job])]


_IMPORT = """
{pin}
from os import _exit
from time import perf_counter, process_time

def resident():
    try:
        return int(open("/proc/self/statm").read().split()[1]) * 4.096e-3
    except OSError:
        return float("nan")

memory, spent, began = resident(), process_time(), perf_counter()
{statement}
wall, spent, memory = perf_counter() - began, process_time() - spent, resident() - memory
import json
print(json.dumps(dict(wall_ms=wall * 1e3, cpu_ms=spent * 1e3, peak_mb=memory)), flush=True)
_exit(0)
"""

PROGRAMS: Mapping[str, Callable[[Task], list[str]]] = {"first": _first, "import": _import}
"""The kinds of case that are measured by another program than `benchmarks.measure`."""
