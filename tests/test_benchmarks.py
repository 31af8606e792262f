"""The benchmarks run from end to end, as far as they need nothing but httpx besides this package."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import publish
from benchmarks.cases import CASES, Case
from benchmarks.clients import CLIENTS
from benchmarks.gauges import Figures
from benchmarks.goals import GOALS, Goal, goals
from benchmarks.measure import DECODERS, KINDS, WAYS, Task, decode, fan_out
from benchmarks.report import FIGURES, report
from benchmarks.resume import WAYS as WAYS_TO_REMEMBER
from benchmarks.run import PROGRAMS, Results, measured
from docs.tables import between

ROOT = Path(__file__).parent.parent
KNOWS_COMMITS = (ROOT / ".git").exists()


def bench(out: Path, cases: tuple[str, ...], clients: tuple[str, ...], *options: str) -> tuple[Results, str]:
    """What a run found, as it wrote it and as it printed it."""
    named = [word for case in cases for word in ("--case", case)] + [
        word for it in clients for word in ("--client", it)
    ]
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--rounds",
        "1",
        "--seconds",
        "0.02",
        "--out",
        str(out),
        *named,
        *options,
    ]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return Results.from_json(out.with_suffix(".json").read_text()), printed


def test_a_run_measures_prints_and_writes(tmp_path: Path) -> None:
    results, printed = bench(tmp_path / "found", ("1kb-c1", "import"), ("ours", "httpx"))
    assert [(case, *clients) for case, clients in results.found.items()] == [
        ("1kb-c1", "ours", "httpx"),
        ("import", "ours", "httpx"),
    ]
    assert all(results.rounds("1kb-c1", client, "cpu_us")[0] > 0 for client in ("ours", "httpx"))
    assert all(results.rounds("import", client, "wall_ms")[0] > 0 for client in ("ours", "httpx"))
    assert CASES["1kb-c1"].title in printed
    assert "import stepfun_async, CPU" in printed


@pytest.mark.skipif(not KNOWS_COMMITS, reason="not a clone of the repository")
def test_an_earlier_revision_is_measured_beside_the_present_one(tmp_path: Path) -> None:
    results, printed = bench(tmp_path / "found", ("1kb-c64",), ("ours", "before"), "--before", "HEAD")
    assert list(results.found["1kb-c64"]) == ["ours", "before"]
    assert results.ratio("1kb-c64", "cpu_us", "before", "ours") is not None
    assert results.versions["before"] == "HEAD"
    assert "stepfun-async, before" in printed


def test_without_that_revision_the_rest_is_measured(tmp_path: Path) -> None:
    results, _ = bench(tmp_path / "found", ("import",), ("ours", "before"), "--before", "no-such-revision")
    assert list(results.found["import"]) == ["ours"]


def test_the_earlier_revision_is_what_its_process_imports(tmp_path: Path) -> None:
    package = tmp_path / "stepfun_async"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('the earlier one')")
    assert measured(Task(CASES["import"], "before", 0.0, source=str(tmp_path))) == "the earlier one"


def test_every_way_of_measuring_works(tmp_path: Path) -> None:
    cases = ("1.5mb-save-link-c16", "sync-8", "tls-first", "check")
    results, _ = bench(tmp_path / "found", cases, ("ours",))
    assert [results.failure(case, "ours") for case in cases] == [None] * len(cases)
    assert [len(results.found[case]["ours"]) for case in cases] == [1] * len(cases)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_fan_out_works(way: str) -> None:
    measured: list[Figures] = []
    fan_out(Task(replace(CASES["map-10000"], count=200), way, seconds=0.0), measured.append)
    assert measured[0]["cpu_us"] > 0
    assert measured[0]["first_ms"] > 0


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_makes_the_image(decoder: str) -> None:
    measured: list[Figures] = []
    decode(Task(CASES["decode-1.5mb"], decoder, seconds=0.0), measured.append)
    assert measured[0]["rate"] > 0


def found(**clients: list[object]) -> Results:
    machine = {"python": "3", "system": "any", "cpus": 2, "load": 0.0}
    cases = {"1kb-c64": clients}
    return Results("now", machine, {}, found=cases)  # type: ignore[arg-type]  # as JSON has them


def test_ratios_are_medians_over_rounds_in_which_neither_failed() -> None:
    ours: list[object] = [{"cpu_us": 10.0}, {"cpu_us": 20.0}, {"cpu_us": 10.0}, "OSError: no"]
    httpx: list[object] = [{"cpu_us": 30.0}, {"cpu_us": 80.0}, "OSError: no", {"cpu_us": 1.0}]
    results = found(ours=ours, httpx=httpx)
    assert results.ratio("1kb-c64", "cpu_us", "httpx", "ours") == 3.5
    assert results.value("1kb-c64", "ours", "cpu_us") == 10.0
    assert results.ratio("1kb-c64", "cpu_us", "aiohttp", "ours") is None
    assert results.failure("1kb-c64", "httpx") is None


def test_a_client_that_failed_in_every_round_says_how() -> None:
    printed = report(found(ours=[{"cpu_us": 10.0}], httpx=["OSError: no", "OSError: no"]))
    assert "httpx                  failed: OSError: no" in printed


def test_goals_are_met_missed_or_not_measured() -> None:
    lines = goals(found(ours=[{"cpu_us": 12.0}], openai=[{"cpu_us": 100.0}], aiohttp=[{"cpu_us": 20.0}])).splitlines()
    assert lines[1].endswith("0.6  met")
    assert lines[2].endswith("0.6  NOT MET")
    assert lines[3].endswith("0.12  NOT MET")
    assert lines[4].endswith("not measured")


def everything() -> Results:
    """A run in which every figure of every client was 2."""
    figures = dict.fromkeys(FIGURES, 2.0)
    machine = {"python": "CPython 3", "system": "any", "cpus": 2, "load": 0.0}
    versions = {"openai": "9.1", "httpx": "9.2", "aiohttp": "9.3", "before": "abcdef0"}
    cases = {name: {client: [figures] for client in case.clients} for name, case in CASES.items()}
    return Results("2030-01-02T03:04:05+00:00", machine, versions, found=cases)  # type: ignore[arg-type]  # as JSON has them


def test_what_is_published_is_made_of_a_run() -> None:
    for page, text in publish.pages(everything()).items():
        was, now = (between(it, publish.BEGIN, publish.END, "") for it in (page.read_text(), text))
        assert was == now
        assert "openai 9.1" in text
    assert "| 1,000 in flight, 50 ms latency | 2 | 2 | 2 | 2 | | 2 |" in text
    assert "| calls a second, 1,000 in flight, 50 ms latency | at least 1.5 of aiohttp | 1 | not met |" in text


def test_a_run_without_a_figure_that_pages_show_is_not_published() -> None:
    results = everything()
    del results.found["tls-1kb-c64"]["ours"]
    with pytest.raises(publish.MissingFigureError, match="ours in tls-1kb-c64"):
        publish.pages(results)


@pytest.mark.skipif(not publish.PUBLISHED.exists(), reason="no run has been published")
def test_the_pages_show_the_published_run() -> None:
    for page, text in publish.pages(Results.from_json(publish.PUBLISHED.read_text())).items():
        assert page.read_text() == text


def test_every_case_can_be_measured() -> None:
    for case in CASES.values():
        assert case.kind in (*KINDS, *PROGRAMS)
        assert all(_knows(client, case) for client in case.clients), case.name


def _knows(client: str, case: Case) -> bool:
    """Whether the client's adapter has a method of its own for the job."""
    if case.kind == "load":
        return case.job in ("save", "save_link") or case.job in vars(_first_with(CLIENTS[client].awaited, case.job))
    return client in {**CLIENTS, **WAYS, **DECODERS}


def _first_with(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__[:-2] if name in vars(base))


def test_no_goal_names_a_case_that_is_not_there() -> None:
    """Measuring nothing is None, never an error."""
    nothing = Results("now", {}, {})
    assert [goal.measure(nothing) for goal in GOALS] == [None] * len(GOALS)
    assert Goal("rate", "least", 2.0, "x", lambda _: 3.0).met(3.0)


def run(module: str, *arguments: str) -> str:
    """What a program prints that ends well."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_batch_is_measured_to_its_end_killed_and_begun_again(tmp_path: Path) -> None:
    printed = run("benchmarks.batch", "--jobs", "300", "--in-flight", "8", "--folder", str(tmp_path))
    assert "300, 8 in flight" in printed
    assert "passed over" in printed
    assert list(tmp_path.iterdir()) == []


def test_killed_and_run_again_a_batch_buys_less_twice_than_the_others() -> None:
    printed = run("benchmarks.resume", "--jobs", "60", "--in-flight", "4", "--latency", "0.05", "--shard", "20")
    rows = {words[0]: words for words in map(str.split, printed.splitlines()) if words and words[0] in WAYS_TO_REMEMBER}
    twice = {way: int(words[3]) for way, words in rows.items()}
    assert twice["ours"] <= 4 < twice["shards"] < twice["cookbook"]
    assert [words[5] for words in rows.values()] == ["0", "0", "0"]
    assert twice["ours"] <= int(rows["ours"][4])
