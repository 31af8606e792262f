"""Against code from elsewhere: the openai package, and the curl call of StepFun's documentation."""

from __future__ import annotations

import base64
import io
import json
import shlex
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from PIL import Image as pillow

from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running

CURL = """\
curl https://api.stepfun.ai/v1/images/generations \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $STEP_API_KEY" \\
  -d '{
    "model": "step-image-edit-2",
    "prompt": "A serene alpine lake at sunset, mirror reflection, photorealistic",
    "response_format": "b64_json",
    "cfg_scale": 1.0,
    "steps": 8,
    "seed": 1,
    "text_mode": true
  }'"""
"""The call as StepFun's documentation of the endpoint prints it."""


@contextmanager
def serving(path: str = "/v1") -> Iterator[tuple[str, Engine]]:
    engine = Engine()
    with running(engine) as url:
        yield url.removesuffix("/v1") + path, engine


def size_of(text: str | None) -> tuple[int, int]:
    assert text
    return pillow.open(io.BytesIO(base64.b64decode(text))).size


def png(width: int, height: int) -> io.BytesIO:
    file = io.BytesIO()
    pillow.new("RGB", (width, height), "teal").save(file, format="PNG")
    file.seek(0)
    file.name = "cat.png"
    return file


@pytest.mark.parametrize("path", ["/v1", "/step_plan/v1"])
def test_the_openai_package_generates_and_edits(path: str) -> None:
    with serving(path) as (url, engine), openai.OpenAI(api_key="sk-peer", base_url=url, max_retries=0) as client:
        made = client.images.generate(
            model="step-image-edit-2",
            prompt="a lake",
            size="768x1360",
            response_format="b64_json",
            extra_body={"seed": 1, "steps": 8, "cfg_scale": 1.0},
        )
        edited = client.images.edit(
            model="step-image-edit-2", image=png(320, 200), prompt="a hat", response_format="b64_json"
        )
        listed = [model.id for model in client.models.list()]
    assert made.data is not None
    assert edited.data is not None
    assert size_of(made.data[0].b64_json) == (1360, 768)
    assert size_of(edited.data[0].b64_json) == (320, 200)
    assert "step-image-edit-2" in listed
    assert engine.bill("sk-peer").images == 2


@pytest.mark.anyio
async def test_the_async_openai_package_generates_and_edits(anyio_backend: str) -> None:
    with serving() as (url, engine):
        async with openai.AsyncOpenAI(api_key="sk-peer", base_url=url, max_retries=0) as client:
            made = await client.images.generate(model="step-2x-large", prompt="a lake", size="256x256")
            edited = await client.images.edit(
                model="step-1x-edit", image=png(320, 320), prompt="a hat", size="512x512", response_format="b64_json"
            )
            with pytest.raises(openai.BadRequestError, match="steps"):
                await client.images.generate(model="step-2x-large", prompt="a lake", extra_body={"steps": 999})
    assert made.data is not None
    assert made.data[0].url is not None
    assert made.data[0].url.startswith(url)
    assert edited.data is not None
    assert size_of(edited.data[0].b64_json) == (512, 512)
    assert engine.bill("sk-peer").images == 2


def test_the_curl_call_of_the_documentation_works_as_printed() -> None:
    """Only host and key are changed."""
    with serving() as (url, _):
        command = CURL.replace("https://api.stepfun.ai/v1", url).replace("$STEP_API_KEY", "sk-curl")
        response = json.loads(_run_curl(shlex.split(command.replace("\\\n", " "))))
    item = response["data"][0]
    assert isinstance(response["created"], int)
    assert (item["seed"], item["finish_reason"]) == (1, "success")
    assert size_of(item["b64_json"]) == (1024, 1024)


def _run_curl(words: list[str]) -> bytes:
    """What `curl` prints; where there is none, what the same words say over HTTP."""
    if shutil.which("curl"):
        return subprocess.run([*words, "--silent", "--noproxy", "*"], capture_output=True, check=True).stdout
    options: dict[str, list[str]] = {"-H": [], "-d": []}
    for flag, value in zip(words[2::2], words[3::2], strict=True):
        options[flag].append(value)
    headers: dict[str, Any] = dict(header.split(": ", 1) for header in options["-H"])
    request = urllib.request.Request(words[1], data=options["-d"][0].encode(), headers=headers, method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return bytes(response.read())
