"""Each failure has its exit code, a message for people, and the same as JSON."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stepfun_async import StepFunError
from stepfun_async._core import errors
from stepfun_async.cli import exit_codes as exits
from stepfun_async.cli import main
from stepfun_async.cli.errors import REPHRASINGS

from .conftest import Run

PYTHON = re.compile(
    r"api_key|base_url|allow_http=|overwrite=|accept_changes=|Limits\(|Budget\(|register_model|register_server|server=|"
    r"server out|edit\(\)|inspect\(\)|Size\(|error\.|timeout=|\(path\)|stop\(\)|image\.data|a list or"
)
"""Rephrasings that help nobody at a command line."""


@pytest.mark.parametrize(
    ("fault", "code", "maybe_billed"),
    [
        ("400", 1, 0),
        ("401", 3, 0),
        ("402", 4, 0),
        ("403", 3, 0),
        ("404", 1, 0),
        ("429", 5, 0),
        ("451", 6, 0),
        ("500", 7, 1),
        ("503", 7, 0),
        ("drop-after", 7, 1),
        ("bad-json", 7, 1),
        ("filtered", 6, 1),
        ("envoy-503", 7, 1),
        ("varnish-503", 7, 1),
        ("litellm-408", 1, 1),
        ("error-in-200", 7, 1),
        ("accepted", 7, 1),
        ("mid-upload:401", 3, 0),
    ],
)
def test_a_failure_has_its_code(
    cli: Run, failing: Callable[[str], None], folder: Path, fault: str, code: int, maybe_billed: int
) -> None:
    failing(fault)
    ran = cli("generate", "A lake", "--json")
    error = json.loads(ran.out)["error"]
    assert (ran.code, error["maybe_billed"]) == (code, maybe_billed)
    assert ran.err.startswith("error: ")
    assert error["message"].splitlines()[0] in ran.err
    assert ("may have been billed" in ran.err) == bool(maybe_billed)
    assert "sk-hidden" not in ran.out + ran.err
    assert not PYTHON.search(ran.err)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("varnish-503", '503: an HTML page from Varnish, "503 Backend fetch failed"; it may have been billed'),
        ("error-in-200", "the response has no image in it: the scenario of the embedded engine says error-in-200"),
        ("accepted", "202, accepted as the task 'embedded-task'"),
        ("litellm-408", "LiteLLM, which responded, resends requests by itself: more may have been billed"),
        ("empty", "perhaps the content filter withheld it"),
    ],
)
def test_the_reason_of_a_failure_is_printed_and_in_the_json(
    cli: Run, failing: Callable[[str], None], folder: Path, fault: str, said: str
) -> None:
    failing(fault)
    ran = cli("generate", "A lake", "--json")
    assert said in ran.err
    assert said in json.loads(ran.out)["error"]["message"]


def test_a_timeout_is_no_answer(cli: Run, failing: Callable[[str], None]) -> None:
    failing("hang")
    ran = cli("generate", "A lake", "--timeout", "2")
    assert ran.code == 7
    assert "no complete response within --timeout 2 seconds; it may have been billed" in ran.err


def test_no_connection_is_no_answer(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setenv("STEP_API_KEY", "sk-hidden")
    ran = cli("generate", "A lake", "--base-url", "http://127.0.0.1:9/v1", "--json")
    assert ran.code == 7
    assert json.loads(ran.out)["error"]["billing"] == "not_sent"


def test_a_key_goes_in_clear_only_with_leave(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_API_KEY", "sk-hidden")
    monkeypatch.setenv("STEP_BASE_URL", "http://far.test/v1")
    for command in (["check", "generate", "A lake"], ["account"]):
        ran = cli(*command)
        assert ran.code == 3
        assert "give --allow-http" in ran.err
    ran = cli("check", "generate", "A lake", "--allow-http")
    assert ran.code == 0
    assert "sends: POST http://far.test/v1/images/generations\n" in ran.out


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, [], "no API key: set STEP_API_KEY or STEPFUN_API_KEY, or use --base-url embedded, which needs none"),
        ({"STEP_API_KEY": "\u043a"}, [], "the API key (STEP_API_KEY or STEPFUN_API_KEY) is not made of visible ASCII"),
        (
            {},
            ["--base-url", "https://me:word@host/v1"],
            "--base-url has a user name or password in it: set STEP_API_KEY",
        ),
        ({}, ["--base-url", "nowhere"], "--base-url or STEP_BASE_URL is 'nowhere', which is no address"),
        (
            {"STEP_API_KEY": "sk-hidden"},
            ["--base-url", "http://far.test/v1"],
            "write https://, or give --allow-http where you trust the network",
        ),
    ],
)
def test_configuration(
    cli: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], message: str
) -> None:
    monkeypatch.delenv("STEP_BASE_URL")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = cli("generate", "A lake", *arguments)
    assert ran.code == 3
    assert message in ran.err
    assert "word" not in ran.err.replace("password", "")
    assert not PYTHON.search(ran.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "Missing argument 'PROMPT'. See: stepfun-async generate --help"),
        (["generate", "A lake", "--stops", "3"], "No such option"),
        (["generate", "A lake", "--steps", "many"], "'--steps'"),
        (["paint"], "No such command 'paint'. See: stepfun-async --help"),
        (["generat"], "No such command 'generat'. Did you mean 'generate'? See: stepfun-async --help"),
        (
            ["servers", "openia"],
            "stepfun-async servers shows them. Did you mean 'openai'? See: stepfun-async servers --help",
        ),
    ],
)
def test_mistakes_in_the_arguments(cli: Run, arguments: list[str], message: str) -> None:
    ran = cli(*arguments, "--json")
    assert ran.code == 2
    assert message in ran.err
    assert json.loads(ran.out)["error"]["type"] == "UsageError"


def test_json_after_two_dashes_is_no_option(cli: Run) -> None:
    assert cli("generate", "--steps", "many", "--", "--json").out == ""


def test_a_picture_that_cannot_be_written_is_kept(
    cli: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, *, overwrite: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stepfun_async._core.results.write_bytes", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran = cli("generate", "A lake", "--out", "lake.png")
    assert ran.code == 8
    assert "No space left on device\n" in ran.err
    assert not PYTHON.search(ran.err)
    kept = re.search(r"the image is in (.*)", ran.err)
    assert kept is not None
    assert Path(kept[1]).read_bytes().startswith(b"\x89PNG")


def test_unknown_models_lead_to_the_table(cli: Run) -> None:
    ran = cli("generate", "A lake", "--model", "step-9")
    assert ran.code == 2
    assert "stepfun-async models lists them" in ran.err
    assert cli("models", "step-9").code == 2


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stepfun_async.cli.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert 'pip install "stepfun-async[cli]"' in err


def test_an_interrupt_while_the_command_loads_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "stepfun_async.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "stepfun_async.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting, *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", "error: interrupted; nothing was sent\n")


def test_every_error_of_the_sdk_has_a_documented_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StepFunError)]
    codes = {kind.__name__: exits.code_of(kind.__new__(kind)) for kind in kinds}
    assert set(codes.values()) <= set(exits.MEANINGS)
    others = {name for name, code in codes.items() if code == exits.OTHER}
    assert others == {"StepFunError", "APIError", "APIStatusError", "BadRequestError", "NotFoundError"}


def test_words_are_those_of_python() -> None:
    assert all(PYTHON.search(re.sub(r"\\(?!$)b?", "", python)) for python, _ in REPHRASINGS if "timeout" not in python)
