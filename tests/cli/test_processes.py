"""What only a process of its own shows: pipes, terminals, signals."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from stepfun_async import AuthenticationError, Client, TextToImage
from stepfun_async.embedded import Engine, Fault, Scenario
from stepfun_async.embedded.server import running

from .conftest import start

PATIENCE = 60
"""Seconds after which a process that should have ended is given up."""


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.decode(), err.decode()


def test_a_pipe_gets_the_path_and_nothing_else(folder: Path) -> None:
    assert ended(start("generate", "A lake")) == (0, "a-lake.png\n", "")


def test_a_picture_goes_through_pipes_as_bytes(folder: Path) -> None:
    with start("generate", "A lake", "--out", "-") as first:
        picture, err = first.communicate(timeout=PATIENCE)
    assert (first.returncode, err) == (0, b"")
    assert picture.startswith(b"\x89PNG")
    with start("edit", "-", "Make it night", "--out", "night.png", stdin=subprocess.PIPE) as second:
        out, _ = second.communicate(picture, timeout=PATIENCE)
    assert (second.returncode, out) == (0, b"night.png\n")
    assert [path.name for path in folder.iterdir()] == ["night.png"]


def closed(*arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a process whose stdout nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*arguments, stdout=writer)
    os.close(writer)
    with process:
        _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()


def test_head_ends_a_command_without_a_word(folder: Path) -> None:
    assert closed("models") == (141, "")
    assert closed("check", "generate", "A lake", "--json") == (141, "")


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stepfun_async", "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "stepfun-async")


def test_a_closed_pipe_does_not_hide_where_the_picture_is(folder: Path) -> None:
    assert closed("generate", "A lake") == (
        1,
        "error: stdout cannot be written to: Broken pipe; the image is saved as a-lake.png\n",
    )


def test_a_closed_pipe_does_not_hide_an_error(folder: Path) -> None:
    code, err = closed("generate", "A lake", "--steps", "0", "--json")
    assert code == 1
    assert "--steps: got 0" in err
    assert err.endswith("error: stdout cannot be written to: Broken pipe\n")


def test_a_closed_pipe_does_not_lose_the_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    code, err = closed("generate", "A lake", "--out", "-")
    assert code == 8
    kept = re.search(r"the image is in (.*)", err)
    assert kept is not None
    assert Path(kept[1]).read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize(
    ("arguments", "code"), [(["generate", "A lake"], 1), (["generate", "A lake", "--out", "-"], 8)]
)
def test_a_full_disk_behind_stdout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int
) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    with Path("/dev/full").open("wb") as full:
        process = start(*arguments, stdout=full)
    with process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert b"No space left on device" in err
    assert b"the image is " in err
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_full_disk_behind_an_unbuffered_stdout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # as in most containers
    with Path("/dev/full").open("wb") as full:
        process = start("models", stdout=full)
    with process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err == b"error: stdout cannot be written to: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize(("arguments", "code"), [(["--negative-prompt", "dogs"], 0), (["--steps", "99"], 2)])
def test_a_full_disk_behind_stderr_costs_no_image_and_no_exit_code(
    folder: Path, arguments: list[str], code: int
) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("generate", "A lake", *arguments, stderr=full)
    with process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, b"" if code else b"a-lake.png\n")


def shown(*arguments: str, both: bool) -> str:
    """What a terminal shows; with `both` False, stdout is a pipe."""
    ours, theirs = pty.openpty()
    streams: dict[str, object] = {"stderr": theirs, "stdin": theirs, **({"stdout": theirs} if both else {})}
    process = start(*arguments, **streams)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux says so where the other side has gone
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    with process:
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, text
    return text.decode()


def test_progress_and_a_line_for_people_are_for_terminals(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown("generate", "A lake", "--seed", "3", both=True)
    assert "step-image-edit-2 is at work" in text
    assert re.search(r"a-lake\.png  1024 x 1024 png  seed 3  0\.003 USD \(not charged\)  \d+\.\d s\r\n", text)


def test_no_progress_while_stdout_is_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert shown("generate", "A lake", both=False) == ""


def test_bytes_are_not_thrown_at_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    with start("generate", "A lake", "--out", "-", stdout=theirs) as process:
        os.close(theirs)
        _, err = process.communicate(timeout=PATIENCE)
    os.close(ours)
    assert process.returncode == 2
    assert b"stdout is a terminal" in err


class Watched(Scenario):
    """Hangs, and says when a call has come."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()

    def next_fault(self) -> Fault | None:
        self.called.set()
        return Fault("hang")


def test_an_interrupt_says_that_it_may_have_been_billed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setenv("STEP_API_KEY", "sk-hidden")
    with running(Engine(scenario=watched)) as url:
        process = start("generate", "A lake", "--base-url", url)
        assert watched.called.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert err == "error: interrupted; the image may have been billed; a retry may be billed again\n"


class OneAnswer(Watched):
    """Answers the first call, and hangs at the others; says when a third one has come."""

    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count(1)

    def next_fault(self) -> Fault | None:
        number = next(self._count)
        if number == 3:
            self.called.set()
        return None if number == 1 else Fault("hang")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupt_of_variations_prints_what_was_made_and_what_may_have_been_billed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    watched = OneAnswer()
    monkeypatch.setenv("STEP_API_KEY", "sk-hidden")
    with running(Engine(plain=True, scenario=watched)) as url:
        process = start("generate", "A lake", "--variations", "3", "--base-url", url, *options)
        assert watched.called.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    made = [path.name for path in folder.glob("*.png")]
    paths = [json.loads(line).get("path") for line in out.splitlines()] if options else out.splitlines()
    assert (code, [path for path in paths if path]) == (130, made)
    lost = 3 - len(made)  # the first answer may have come just after the interrupt
    message = f"interrupted; {len(made)} of 3 images were made, billed and saved, and {lost} more may have been billed"
    assert message in err
    assert "Traceback" not in err


def serving(*arguments: str) -> tuple[subprocess.Popen[bytes], str, list[str]]:
    """`serve` on a free port, its base URL, and what it said first."""
    process = start("serve", "--port", "0", *arguments)
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append(process.stdout.readline().decode().rstrip())
        assert lines[-1], process.communicate(timeout=PATIENCE)
    return process, lines[1].removeprefix("base URL: "), lines


def logged(err: str) -> list[str]:
    """The lines of the server's log, with `#` in the place of its seconds."""
    lines = err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), err
    return [re.sub(r"in [\d.]+ s$", "in # s", line) for line in lines]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_and_presents_the_bill(folder: Path, stop: signal.Signals) -> None:
    process, url, lines = serving("--fault", "500*1")
    assert f"clients:  STEP_BASE_URL={url} STEP_API_KEY=any" in lines
    assert "fault:    500*1" in lines
    with Client("any", base_url=url) as client:
        kinds = [type(outcome).__name__ for outcome in client.images.map([TextToImage(prompt="A lake")] * 2)]
    process.send_signal(stop)
    code, out, err = ended(process)
    assert sorted(kinds) == ["Failed", "Finished"]
    assert (code, out) == (0, "bill: 2 calls, 1 image, 0.003 USD\n")
    assert sorted(line[9:] for line in logged(err)) == [
        f"POST /v1/images/generations step-image-edit-2: {status} in # s" for status in (200, 500)
    ]


def test_serve_lets_in_the_keys_of_the_environment_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPFUN_SERVE_KEYS", "sk-one, sk-two")
    process, url, lines = serving()
    assert "sk-" not in "".join(lines)
    with Client("sk-two", base_url=url) as client:
        assert client.account.retrieve().balance == 100.0
    with Client("sk-three", base_url=url) as client, pytest.raises(AuthenticationError):
        client.account.retrieve()
    process.send_signal(signal.SIGINT)
    assert ended(process)[:2] == (0, "bill: 0 calls, 0 images, no money\n")


@pytest.mark.parametrize("strict", [True, False])
def test_serve_takes_what_clients_of_openai_always_send_unless_it_is_strict(folder: Path, strict: bool) -> None:
    process, url, _ = serving(*["--strict"][:strict])
    body = {"model": "step-image-edit-2", "prompt": "A lake", "quality": "auto", "response_format": None}
    reply = httpx.post(f"{url}/images/generations", json=body, headers={"authorization": "Bearer k"}, trust_env=False)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    note = "POST /images/generations: quality='auto' is ignored, since step-image-edit-2 has no such parameter"
    assert (code, reply.status_code) == (0, 400 if strict else 200)
    assert [line[9:] for line in logged(err)][:-1] == ([] if strict else [note])


def test_serve_passes_over_an_offer_of_http_2_in_silence(folder: Path) -> None:
    """As Java's HttpClient makes it with its calls; it goes on in HTTP/1.1."""
    process, url, _ = serving()
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABk"}
    headers = {"authorization": "Bearer k", **offer}
    body = {"model": "step-image-edit-2", "prompt": "A lake"}
    replies = [
        httpx.get(f"{url}/models", headers=headers, trust_env=False),
        httpx.post(f"{url}/images/generations", json=body, headers=headers, trust_env=False),
    ]
    process.send_signal(signal.SIGINT)
    assert [reply.status_code for reply in replies] == [200, 200]
    code, out, err = ended(process)
    assert (code, out) == (0, "bill: 1 call, 1 image, 0.003 USD\n")
    assert [line.split()[1] for line in logged(err)] == ["GET", "POST"]


def test_serve_says_that_the_port_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = ended(start("serve", "--port", str(port)))
    assert (code, out) == (3, "")
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert err.count("\n") == 1


def test_letters_that_the_terminal_lacks_cost_no_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code, out, _ = ended(start("generate", "宁静"))
    assert (code, out) == (0, "\\u5b81\\u9759.png\n")
    assert Path("宁静.png").exists()


def test_a_retired_model_is_warned_about_in_one_line(folder: Path) -> None:
    url = "https://api.stepfun.ai/v1"
    code, out, err = ended(start("check", "generate", "A lake", "--model", "step-1x-medium", "--base-url", url))
    assert (code, out.splitlines()[0]) == (0, "valid: step-1x-medium text_to_image")
    assert err.startswith("warning: StepFun's hosts were to stop serving step-1x-medium on 2026-07-08")
    assert err.count("\n") == 1
