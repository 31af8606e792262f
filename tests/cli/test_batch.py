"""`batch`: run, go on, be interrupted, and say what is so."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from jsonschema import Draft202012Validator

from stepfun_async import Batch
from stepfun_async.batch import Records
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.server import running

from .conftest import Run, start
from .test_processes import PATIENCE, ended


@pytest.fixture(autouse=True)
def prompts(folder: Path) -> Path:
    path = folder / "prompts.txt"
    path.write_text("A lake\nA fox\n\nA cat\n")
    return path


def test_a_run_tells_what_it_did_and_the_next_one_buys_nothing(cli: Run) -> None:
    first = cli("batch", "run", "prompts.txt", "--out", "out", "--set", "size=512x512", "--model", "step-2x-large")
    assert first == (
        0,
        """\
this run: 3 done, 0.06 USD spent
3 done, of 3 lines
money: 0.06 USD spent
images and journal are in out
""",
        "",
    )
    again = cli("batch", "run", "prompts.txt", "--out", "out", "--set", "size=512x512", "--model", "step-2x-large")
    assert again.out.startswith("this run: 0 done, 3 skipped\n")
    items = list(Records("out").items())
    assert [(item.line, item.request["prompt"], item.width) for item in items] == [
        (1, "A lake", 512),
        (2, "A fox", 512),
        (4, "A cat", 512),
    ]


def test_pictures_go_where_they_are_told_and_say_how_they_were_made(cli: Run, folder: Path) -> None:
    arguments = ("prompts.txt", "--out", "out", "--pictures", "elsewhere", "--embed-metadata")
    code, out, _ = cli("batch", "run", *arguments)
    assert code == 0
    assert out.endswith("images are in elsewhere, and the journal is in out\n")
    assert [path.name for path in (folder / "out").iterdir() if path.suffix in (".png", ".json")] == []
    (picture, *_) = (folder / "elsewhere").rglob("*.png")
    with PIL.Image.open(picture) as opened:
        assert opened.text["Description"] in ("A lake", "A fox", "A cat")  # type: ignore[attr-defined]  # PNG has it


def test_a_bucket_that_is_not_there_is_told_before_anything_is_bought(
    cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    code, _, err = cli("batch", "run", "prompts.txt", "--out", "out", "--pictures", "s3://lakes")
    assert code == 3
    assert "AWS_ENDPOINT_URL='nowhere' is no endpoint" in err
    assert Records("out").status().counts["done"] == 0


def test_the_schema_of_a_line_is_printed_with_the_defaults_of_a_run(cli: Run) -> None:
    schema = json.loads(cli("batch", "schema", "--model", "step-2x-large", "--set", "prompt=a lake").out)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"steps": 50, "size": "16:10"})
    assert [error.message for error in validator.iter_errors({"steps": 51})] == ["51 is greater than the maximum of 50"]


@pytest.mark.parametrize(
    "piped",
    [
        "A lake\nA fox\n",
        '{"prompt": "A lake"}\n{"prompt": "A fox"}\n',
        '[{"prompt": "A lake"}, {"prompt": "A fox"}]',
        "prompt;seed\nA lake;1\nA fox;2\n",
    ],
)
def test_stdin_is_read_by_how_it_begins(folder: Path, piped: str) -> None:
    for bought in (2, 0):
        process = start("batch", "run", "-", "--out", "out", "--json", stdin=subprocess.PIPE)
        out, err = process.communicate(piped.encode(), timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
        assert json.loads(out)["run"]["done"] == bought
    assert [item.request["prompt"] for item in Records("out").items()] == ["A lake", "A fox"]


@pytest.mark.parametrize("command", [["run", "-", "--out", "out"], ["check", "-"]])
def test_a_closed_stdin_has_no_lines(
    cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    message = "error: the inputs are '-', and stdin is closed: give a file, or pipe one in\n"
    assert cli("batch", *command) == (3, "", message)


def test_a_check_leaves_stdin_to_the_run(folder: Path) -> None:
    process = start("batch", "check", "-", stdin=subprocess.PIPE)
    out, err = process.communicate(b"A lake\n", timeout=PATIENCE)
    message = b"error: check would use these inputs up: stdin can be read once; give a file\n"
    assert (process.returncode, out, err) == (3, b"", message)


def test_a_working_directory_that_was_removed_is_named(cli: Run, folder: Path) -> None:
    inputs = str(folder / "prompts.txt")
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    message = "error: the working directory cannot be used: No such file or directory\n"
    assert cli("batch", "run", inputs, "--out", "out") == (3, "", message)
    code, _, err = cli("generate", "A lake")
    assert (code, "(the working directory: No such file or directory)" in err) == (2, True)


def test_lines_are_counted_in_the_singular_and_those_removed_are_named(cli: Run, folder: Path) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    (folder / "prompts.txt").write_text("A lake\n")
    assert "3 done, of 1 line\n" in (out := cli("batch", "run", "prompts.txt", "--out", "out").out)
    assert "no longer in the inputs: 2 lines\n" in out


def test_metadata_for_imagefolder_goes_beside_the_images(cli: Run, folder: Path) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    code, out, _ = cli("batch", "manifest", "out", "--imagefolder")
    assert (code, out) == (0, f"{folder.resolve() / 'out' / 'metadata.jsonl'}\n")
    lines = [json.loads(line) for line in (folder / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["A lake", "A fox", "A cat"]
    assert all((folder / "out" / line["file_name"]).is_file() for line in lines)


def test_a_manifest_is_parquet_by_its_name(cli: Run, folder: Path) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    assert cli("batch", "manifest", "out", "--to", "manifest.parquet").out == "manifest.parquet\n"
    assert (folder / "manifest.parquet").read_bytes()[:4] == b"PAR1"


def test_json_has_the_run_and_the_whole(cli: Run) -> None:
    found = json.loads(cli("batch", "run", "prompts.txt", "--out", "out", "--json").out)
    assert (found["run"]["done"], found["run"]["spent"]) == (3, {"USD": "0.009"})
    assert found["status"]["counts"] == {"pending": 0, "started": 0, "done": 3, "failed": 0, "unknown": 0}
    assert json.loads(cli("batch", "status", "out", "--json").out) == found["status"]


def test_check_names_every_bad_line(cli: Run, folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"promt": "a"}\n{"prompt": "b", "steps": 99}\n{"prompt": "c"}\n{\n')
    code, out, _ = cli("batch", "check", "bad.jsonl", "--rpm", "1")
    assert code == 2
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["line 1", "line 1", "line 2", "line 4"]
    assert lines[-1] == "4 lines, 3 bad; the good ones cost 0.003 USD; at least 0 s by the limits; nothing was sent"
    found = json.loads(cli("batch", "check", "bad.jsonl", "--json").out)
    assert [line["line"] for line in found["bad_lines"]] == [1, 2, 4]
    assert cli("batch", "check", "prompts.txt").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "missing.txt", "--out", "out"], 3, "missing.txt"),
        (["run", "prompts.txt"], 2, "--out"),
        (["run", "prompts.txt", "--out", "out", "--set", "steps"], 2, "--set: got 'steps'"),
        (["run", "prompts.txt", "--out", "out", "--limit-tier", "V9"], 3, "V9"),
        (
            ["run", "prompts.txt", "--out", "out", "--budget", "much"],
            2,
            "Invalid value for --budget: limit is a sum of money",
        ),
        (["run", "prompts.txt", "--out", "out", "--budget", "1 USD more"], 2, "Invalid value for --budget"),
        (["run", "prompts.txt", "--out", "out", "--budget", "0.006"], 4, "raise --budget or stop here"),
        (["run", "prompts.txt", "--out", "out", "--set", "steps=99"], 2, ""),
        (["run", "prompts.txt", "--out", "out", "--set", "sise=16:9"], 2, "--set: got 'sise=16:9' (no such field)"),
        (["run", "prompts.txt", "--out", "out", "--set", "sise=16:9"], 2, "Did you mean 'size'?"),
        (["check", "prompts.txt", "--set", "steps=500"], 2, "--set: got 'steps=500'"),
        (["run", "prompts.txt", "--out", "out", "--limit", "0"], 3, "limit is a whole number above 0"),
        (["status", "nothing"], 3, "there is no batch in 'nothing'"),
        (["retry", "nothing"], 3, "there is no batch in 'nothing'"),
        (["pack", "nothing", "--to", "shards"], 3, "there is no batch in 'nothing'"),
        (["manifest", "nothing"], 3, "there is no batch in 'nothing'"),
    ],
)
def test_exit_codes_and_what_is_said(cli: Run, arguments: list[str], code: int, said: str) -> None:
    ran = cli("batch", *arguments)
    assert ran.code == code
    assert said in ran.err


def test_other_settings_are_told_in_the_words_of_the_command_line(cli: Run) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    code, _, err = cli("batch", "run", "prompts.txt", "--out", "out", "--set", "steps=9")
    assert code == 3
    assert "give --accept-changes" in err
    assert cli("batch", "run", "prompts.txt", "--out", "out", "--set", "steps=9", "--accept-changes").code == 0


def test_failures_are_told_by_class_and_sent_again_when_asked(
    cli: Run, failing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing("451*2")  # type: ignore[operator]
    code, out, _ = cli("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "1")
    assert code == 9
    assert "1 done, 2 failed, of 3 lines\n  2 ContentRejectedError: " in out
    assert "\n    line 1, line 2\neach of them: stepfun-async batch status out --failures\n" in out
    listed = cli("batch", "status", "out", "--failures").out.splitlines()
    assert [line.partition(": ")[0] for line in listed] == [f"ContentRejectedError  line {n}" for n in (1, 2)]
    whole = json.loads(cli("batch", "status", "out", "--failures", "--json").out)
    (why,) = whole["reasons"]
    assert (why["error"], why["count"], [line["line"] for line in why["first"]]) == ("ContentRejectedError", 2, [1, 2])
    assert [line["line"] for line in whole["all_failures"]] == [1, 2]
    assert cli("batch", "retry", "out", "--error", "BadRequestError").out.startswith("0 lines")
    assert cli("batch", "retry", "out", "--unknown").out.startswith("0 lines")
    assert json.loads(cli("batch", "retry", "out", "--json").out) == {"lines": 2}
    assert cli("batch", "run", "prompts.txt", "--out", "out").code == 0


def test_no_code_says_that_nothing_was_sent_where_pictures_were_bought(cli: Run, folder: Path) -> None:
    (folder / "mixed.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "steps": 99}\n')
    code, out, _ = cli("batch", "run", "mixed.jsonl", "--out", "out")
    assert code == 9
    assert "  1 InvalidRequestError: steps: got 99; allowed: a whole number from 1 to 50. Did you mean 50?\n" in out
    (folder / "bad.jsonl").write_text('{"prompt": "b", "steps": 99}\n')
    assert cli("batch", "run", "bad.jsonl", "--out", "none").code == 2


def test_what_may_have_been_bought_twice_is_summed_over_all_runs(cli: Run, failing: object) -> None:
    failing("500*2")  # type: ignore[operator]
    for _ in range(2):
        cli("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "1")
    found = json.loads(cli("batch", "status", "out", "--json").out)
    assert (found["counts"]["done"], found["billed"], found["maybe_billed"], found["maybe_twice"]) == (3, 3, 5, 2)
    assert "in all runs, 2 images may have been bought twice\n" in cli("batch", "status", "out").out


def test_a_limit_makes_the_first_lines_and_later_runs_make_the_rest(cli: Run) -> None:
    for limit, made in (("2", 2), ("2", 0)):
        found = json.loads(cli("batch", "run", "prompts.txt", "--out", "out", "-n", limit, "--json").out)
        assert (found["run"]["done"], found["status"]["lines"]) == (made, None)
    found = json.loads(cli("batch", "run", "prompts.txt", "--out", "out", "--json").out)
    assert (found["run"]["done"], found["run"]["skipped"], found["status"]["lines"]) == (1, 2, 3)
    cli("batch", "run", "prompts.txt", "--out", "out", "--limit", "1")
    assert Records("out").status().removed == 0


def test_a_server_without_prices_has_none_made_up(cli: Run, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with running(Engine()) as url:
        monkeypatch.setenv("STEP_BASE_URL", url)
        monkeypatch.setenv("STEP_API_KEY", "sk-test")
        out = cli("batch", "run", "prompts.txt", "--out", "out").out
    assert "money: the price of 3 images is not known\n" in out
    cli("batch", "report", "out")
    page = re.sub("<[^>]+>", "", (folder / "out" / "report.html").read_text())
    assert "Spentnot knownthe price of 3" in page


def test_so_many_failures_stop_the_run(cli: Run, failing: object) -> None:
    failing("451*9")  # type: ignore[operator]
    code, out, _ = cli("batch", "run", "prompts.txt", "--out", "out", "--max-failures", "1", "--concurrency", "1")
    assert code == 6  # nothing was made, so that the failures' own code says most
    assert "stopped: 1 lines failed, and max_failures is 1; run it again to continue" in out


def test_pictures_are_packed_and_listed(cli: Run, folder: Path) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    assert cli("batch", "pack", "out", "--to", "shards") == (0, "shards/00000.tar\n", "")
    assert cli("batch", "pack", "out", "--to", "shards").code == 3
    assert cli("batch", "manifest", "out", "--to", "all.jsonl") == (0, "all.jsonl\n", "")
    assert len((folder / "all.jsonl").read_text().splitlines()) == 3
    assert cli("batch", "manifest", "out", "--to", "no/such/folder.jsonl").code == 3


def test_a_report_is_written_beside_the_pictures(cli: Run, folder: Path) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    assert cli("batch", "report", "out") == (0, "out/report.html\n", "")
    assert (folder / "out" / "thumbnails").is_dir()
    assert cli("batch", "report", "out", "--to", "out/plain.html", "--no-thumbnails") == (0, "out/plain.html\n", "")
    assert "A lake" in (folder / "out" / "plain.html").read_text()
    assert cli("batch", "report", "nothing").code == 3


# --- signals ------------------------------------------------------------------------------------


class Slow(Scenario):
    """Says when a call has come, and answers none before it is let go; or does as `fault` says."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)
        self.go = threading.Event()
        self.fault: Fault | None = None

    def next_fault(self) -> Fault | None:
        self.came.release()
        if self.fault is None:
            self.go.wait(PATIENCE)  # the server has a thread of its own
        return self.fault


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    scenario = Slow()
    with running(Engine(plain=True, scenario=scenario)) as url:
        monkeypatch.setenv("STEP_BASE_URL", url)
        monkeypatch.setenv("STEP_API_KEY", "sk-test")
        yield scenario


def test_ctrl_c_lets_what_is_in_flight_end_and_says_how_to_go_on(slow: Slow, cli: Run) -> None:
    process = start("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "1")
    assert slow.came.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"stopping: no more lines are sent. 1 image is being made")
    slow.go.set()
    code, out, err = ended(process)
    assert code == 130
    assert out.startswith(
        "this run: 1 done, the price of 1 image is not known\n2 pending, 1 done, of an unknown number"
    )
    assert "\nstopped: interrupted; run it again to continue\n" in out
    assert err == "error: interrupted; what was made is kept: run the same command again to make the rest\n"
    assert cli("batch", "run", "prompts.txt", "--out", "out").code == 0
    assert Records("out").status().counts["done"] == 3


def test_a_terminal_that_is_closed_lets_what_is_in_flight_end(slow: Slow, folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = ("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "1")
    session = """if True:
        import os, signal, sys
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal that a session opens is its own
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    """
    arguments = [sys.executable, "-c", session, "-m", "stepfun_async.cli", *command]
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    with process:
        assert slow.came.acquire(timeout=PATIENCE)
        os.close(ours)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"stopping: no more lines are sent. 1 image is being made")
        slow.go.set()
        process.wait(PATIENCE)
    assert process.returncode > 0
    counts = Records("out").status().counts
    assert (counts["done"], counts["started"], counts["pending"]) == (1, 0, 2)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_hangup_stops_a_run_unless_nohup_has_it_ignored(slow: Slow, folder: Path, ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        process = start("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "1")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert slow.came.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGHUP)
    if not ignored:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"stopping: no more lines are sent. 1 image is being made")
        process.send_signal(signal.SIGHUP)
    slow.go.set()
    assert ended(process)[0] == (0 if ignored else 130)
    assert Records("out").status().counts["done"] == (3 if ignored else 1)


def test_ctrl_c_twice_stops_at_once_and_names_what_was_in_flight(slow: Slow, cli: Run) -> None:
    slow.fault = Fault("hang")
    process = start("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "2")
    for _ in range(2):
        assert slow.came.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130
    assert "1 pending, 2 unknown" in out
    assert "2 images were in flight and may have been billed" in err
    slow.fault = None
    slow.go.set()
    assert cli("batch", "run", "prompts.txt", "--out", "out").code == 0
    assert Records("out").status().counts["done"] == 3


def test_a_terminal_shows_how_it_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    ours, theirs = pty.openpty()
    process = start("batch", "run", "prompts.txt", "--out", "out", stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        text += piece
    os.close(ours)
    with process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "3 of 3 (100 %) · ".encode() in text
    assert b" \xc2\xb7 0.009 USD" in text
    assert b"this run: 3 done, 0.009 USD spent" in text
    assert text.rstrip().endswith(b"images and journal are in out")


def test_status_names_the_process_that_runs(slow: Slow, cli: Run) -> None:
    slow.fault = Fault("hang")
    process: subprocess.Popen[bytes] = start("batch", "run", "prompts.txt", "--out", "out", "--concurrency", "2")
    for _ in range(2):
        assert slow.came.acquire(timeout=PATIENCE)
    assert f"run by process {process.pid} on " in cli("batch", "status", "out").out
    assert f"is being run by process {process.pid}" in cli("batch", "run", "prompts.txt", "--out", "out").err
    process.kill()


def test_the_command_line_and_python_share_a_batch(cli: Run) -> None:
    cli("batch", "run", "prompts.txt", "--out", "out")
    assert Batch("prompts.txt", out="out").run_sync().skipped == 3


def test_ctrl_c_in_a_script_enters_what_was_in_flight(slow: Slow, folder: Path) -> None:
    slow.fault = Fault("hang")
    code = "from stepfun_async import Batch; Batch('prompts.txt', out='out').run_sync()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        for _ in range(3):
            assert slow.came.acquire(timeout=PATIENCE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert err.rstrip().endswith(b"KeyboardInterrupt")
    assert Records("out").status().counts["unknown"] == 3
