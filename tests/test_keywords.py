"""Calls that do not fit: keywords of other packages get a sentence, and the error ends in the user's own line."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from stepfun_async import AsyncClient, Client, TextToImage
from stepfun_async._client.signatures import parameters_of
from stepfun_async._core.keywords import CALL_KEYWORDS, CLIENT_KEYWORDS

pytestmark = pytest.mark.anyio

SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    ("images.generate", {"quality": "hd"}, "images.generate() has no parameter quality: StepFun's models have no such"),
    ("images.generate", {"max_retries": 3}, "no parameter max_retries: give the client retry=RetryPolicy(max_attempts"),
    ("images.generate", {"num_inference_steps": 8}, "no parameter num_inference_steps: use steps="),
    ("images.generate", {"sise": "1:1"}, "no parameter sise: did you mean size=?"),
    ("images.edit", {"mask": b"", "user": "a"}, "no parameter mask: StepFun's models have no such setting; say in the"),
    ("images.edit", {"zzz": 1}, "images.edit() has no parameter zzz; it has image, prompt, model, size, n, response"),
    ("images.image_to_image", {"strength": 0.5, "source_weight": 0.4}, "no parameter strength: use source_weight="),
    ("images.download", {"path": "a"}, "images.download() has no parameter path; it has image, save_to, overwrite"),
    ("models.list", {"limit": 5}, "models.list() has no parameter limit; it has timeout"),
    ("models.retrieve", {"time_out": 5}, "models.retrieve() has no parameter time_out: did you mean timeout=?"),
    ("account.retrieve", {"name": "a"}, "account.retrieve() has no parameter name"),
    ("images.map", {"sorted": True}, "images.map() has no parameter sorted: did you mean ordered=?"),
]
POSITIONAL = {"images.generate": 1, "images.edit": 2, "images.image_to_image": 2, "images.download": 1}


def _given(method: str) -> list[Any]:
    return ["a lake"] * POSITIONAL.get(method, 1 if method in ("models.retrieve", "images.map") else 0)


def _method(client: object, name: str) -> Callable[..., Any]:
    group, _, method = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(client, group), method)
    return found


@pytest.mark.parametrize(("method", "options", "said"), SENTENCES)
def test_a_keyword_of_another_package_gets_a_sentence(method: str, options: dict[str, Any], said: str) -> None:
    with Client(base_url="embedded") as client, pytest.raises(TypeError) as caught:
        _method(client, method)(*_given(method), **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(("method", "options", "said"), SENTENCES)
async def test_the_async_client_says_the_same(method: str, options: dict[str, Any], said: str) -> None:
    async with AsyncClient(base_url="embedded") as client:
        with pytest.raises(TypeError) as caught:
            await _method(client, method)(*_given(method), **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_setting_of_another_client_gets_a_sentence(client: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"Client\(\) has no parameter max_retries: use retry=RetryPolicy"):
        client(max_retries=2)
    with pytest.raises(TypeError, match=r"Client\(\) has no parameter time_out: did you mean timeout=\?"):
        client(time_out=2)


def test_every_keyword_of_the_openai_package_has_a_place() -> None:
    """It is a parameter here, or has a sentence, or is so new or rare that all parameters are listed."""
    rare = {"complexity", "frame_count", "frame_duration_ms", "markup", "safety_identifier", "svg"}
    theirs = {*parameters_of(openai.resources.Images.generate), *parameters_of(openai.resources.Images.edit)}
    assert theirs - {*parameters_of(AsyncClient(base_url="embedded").images.edit.__func__)} - rare <= {  # type: ignore[attr-defined]
        *CALL_KEYWORDS
    }
    rare = {"admin_api_key", "data_residency", "provider", "webhook_secret", "websocket_base_url", "workload_identity"}
    theirs = {name for name in parameters_of(openai.OpenAI.__init__) if not name.startswith("_")}
    assert theirs - {*inspect.signature(Client).parameters} - rare <= {*CLIENT_KEYWORDS}


def test_a_request_as_a_value_says_it_as_a_problem() -> None:
    [problem] = TextToImage(prompt="a lake", quality="hd").problems()  # type: ignore[call-arg]
    assert "steps= and cfg_scale= are what changes the quality" in problem.why


def test_a_call_without_its_prompt_names_it() -> None:
    with Client(base_url="embedded") as client, pytest.raises(TypeError, match="prompt"):
        client.images.generate()  # type: ignore[call-arg]


def test_arguments_that_do_not_fit_are_those_of_the_method() -> None:
    with Client(base_url="embedded") as client:
        call: Any = client.images
        with pytest.raises(TypeError, match=r"^images\.generate\(\): too many positional arguments$"):
            call.generate("A lake", "step-image-edit-2")
        with pytest.raises(
            TypeError, match=r"^images\.image_to_image\(\): missing a required argument: 'source_weight'$"
        ):
            call.image_to_image("lake.png", "in blue")


PROGRAM = """
import asyncio, sys
from stepfun_async import AsyncClient, Client, RetryPolicy

SETTINGS = {"api_key": "k", "base_url": "http://127.0.0.1:9/v1", "retry": RetryPolicy(max_attempts=1)}

async def main(call):
    async with AsyncClient(**SETTINGS) as client:
        await call(client)  # the user's line

def sync(call):
    with Client(**SETTINGS) as client:
        call(client)  # the user's line

CALLS = {
    "invalid": lambda client: client.images.generate("a lake", steps=99),
    "refused": lambda client: client.images.generate("a lake"),
    "models": lambda client: client.models.list(),
    "link": lambda client: client.images.download("http://127.0.0.1:9/a.png"),
}
call = CALLS[sys.argv[2]]
sync(call) if sys.argv[1] == "sync" else asyncio.run(main(call))
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("failure", ["invalid", "refused", "models", "link"])
def test_a_traceback_ends_one_frame_below_the_users_line(kind: str, failure: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    done = subprocess.run([sys.executable, program, kind, failure], capture_output=True, text=True, check=False)

    frames = [line for line in done.stderr.splitlines() if line.startswith("  File ")]
    ours = [line for line in frames if "stepfun_async" in line]
    below = frames[max(number for number, line in enumerate(frames) if "program.py" in line) + 1 :]
    assert len(ours) <= 2, done.stderr
    assert below == ours, done.stderr
    assert "stepfun_async." in done.stderr.splitlines()[-1] or failure == "invalid"


def test_development_mode_shows_every_frame(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    run = [sys.executable, "-X", "dev", str(program), "sync", "invalid"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.stderr.count("stepfun_async") > 5
