"""`python -m tests.servers`: the client against real servers; prints a line for each check, and fails if one does."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image as pillow

from stepfun_async import Client, InternalServerError, NotFoundError, Size, register_model
from stepfun_async.embedded import Engine, Scenario
from stepfun_async.embedded.call_log import Log
from stepfun_async.embedded.server import running as serving
from tests.gateways.processes import HOST, free_ports, running

ROOT = Path(__file__).parent.parent.parent
LITELLM = ROOT / ".venv-gateways" / "gateways-litellm"
SERVERS = ROOT / ".venv-servers"
QWEN = "Qwen/Qwen-Image"

_START = 300.0
"""Seconds within which a server has to listen; each imports for a minute on a busy machine."""

Check = tuple[str, bool, object]
"""What is checked, whether it holds, and what was seen."""


@dataclass(frozen=True)
class Real:
    """A real server.

    Attributes:
        name: the profile's.
        environment: where its package is installed.
        checks: runs the client against it.
    """

    name: str
    environment: Path
    checks: Callable[[Path], Iterator[Check]]


def _picture() -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (96, 64), "teal").save(buffer, "PNG")
    return buffer.getvalue()


# --- LiteLLM ------------------------------------------------------------------------------------

_STEPS = "step-image-edit-2"


@contextmanager
def _litellm(folder: Path, upstream: str) -> Iterator[str]:
    """LiteLLM's proxy before `upstream`; its base URL."""
    (port,) = free_ports(1)
    settings = {
        "model_list": [
            {
                "model_name": _STEPS,
                "litellm_params": {"model": f"hosted_vllm/{_STEPS}", "api_base": upstream, "api_key": "k"},
            }
        ],
        "router_settings": {"disable_cooldowns": True},
    }
    configuration = folder / "litellm.yaml"
    configuration.write_text(json.dumps(settings))
    command: list[str | Path] = [
        LITELLM / "bin" / "litellm",
        "--config",
        configuration,
        "--host",
        HOST,
        "--port",
        str(port),
    ]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    with running([*command, "--telemetry", "False"], [port], log=folder / "litellm.log", env=env, within=_START):
        yield f"http://{HOST}:{port}/v1"


def litellm(folder: Path) -> Iterator[Check]:
    """`hosted_vllm/NAME` before our engine: what arrives, what comes back, and how often a failed POST is sent."""
    log = Log()
    engine = Engine(log=log)
    with serving(engine) as upstream, _litellm(folder, upstream) as url:
        with Client("k", base_url=url, server="litellm", timeout=100) as client:
            yield from _through_litellm(client, log)
            with_header = _sent(client, engine, log)
        with Client("k", base_url=url, timeout=100) as client:
            without = _sent(client, engine, log)
    yield "a failed POST is sent less often with the profile's header", with_header < without, (with_header, without)


def _through_litellm(client: Client, log: Log) -> Iterator[Check]:
    report = client.server.inspect()
    yield "inspect() recognizes it", report.server.name == "litellm", report.sign
    yield "inspect() finds no image-to-image", report.operations["image_to_image"] is False, dict(report.operations)
    size = Size(width=1360, height=768)
    given: dict[str, Any] = {"steps": 12, "cfg_scale": 3.5, "negative_prompt": "fog", "text_mode": True, "seed": 77}
    image = client.images.generate("A lake", size=size, **given).image
    yield (
        "generate() returns the size asked for",
        (image.width, image.height) == (1360, 768),
        (image.width, image.height),
    )
    yield "the seed is the one sent", image.seed == 77, image.seed
    arrived = log.calls[-1].parameters
    yield "every parameter of generate() arrives", {name: arrived.get(name) for name in given} == given, dict(arrived)
    edited = client.images.edit(_picture(), "Make it blue", **given).image
    arrived = log.calls[-1].parameters
    yield "every parameter of edit() arrives", {name: arrived.get(name) for name in given} == given, edited.format
    try:
        Client("k", base_url=client.base_url).images.image_to_image(_picture(), "In oil", source_weight=0.5)
    except NotFoundError as error:
        yield "a 404 for image-to-image says so", "no image-to-image" in error.message, error.message


def _sent(client: Client, engine: Engine, log: Log) -> int:
    """The POSTs that reach the server for one call that fails there."""
    engine.scenario, before = Scenario("500*50"), len(log.calls)
    try:
        client.images.generate("A lake")
    except InternalServerError:
        return len(log.calls) - before
    finally:
        engine.scenario = Scenario()
    raise AssertionError("the call did not fail")


# --- SGLang -------------------------------------------------------------------------------------


def sglang(folder: Path) -> Iterator[Check]:
    """The application of the wheel: which parameters reach the engine, and which formats come back."""
    (port,) = free_ports(1)
    command: list[str | Path] = [SERVERS / "bin" / "python", Path(__file__).parent / "sglang_app.py", str(port), folder]
    with running(command, [port], log=folder / "sglang.log", env={}, within=_START):
        url = f"http://{HOST}:{port}/v1"
        with Client(base_url=url, server="sglang", timeout=100) as client:
            yield from _of_sglang(client, folder / "jobs.jsonl")


def _of_sglang(client: Client, jobs: Path) -> Iterator[Check]:
    report = client.server.inspect()
    yield "inspect() recognizes it", (report.server.name, report.models) == ("sglang", (QWEN,)), report.sign
    yield "inspect() finds no image-to-image", report.operations["image_to_image"] is False, dict(report.operations)
    model = register_model(QWEN, server="sglang")
    given: dict[str, Any] = {"steps": 12, "cfg_scale": 3.5, "negative_prompt": "fog", "seed": 77}
    image = client.images.generate("A lake", model=model, size="16:9", **given).image
    yield "generate() returns the size asked for", (image.width, image.height) == (1360, 768), image.format
    job = _last(jobs)
    arrived = (job["num_inference_steps"], job["guidance_scale"], job["negative_prompt"], job["seed"])
    yield "every parameter of generate() arrives", arrived == tuple(given.values()), job
    small = Size(width=256, height=128)
    images = [client.images.generate("A lake", model=model, size=small).image for _ in range(2)]
    yield "seeds are drawn", images[0].seed != images[1].seed and images[1].seed == _last(jobs)["seed"], _last(jobs)
    client.images.generate("A lake", model=model, size=small, extra_body={"seed": None})
    yield "without a seed it uses 42", _last(jobs)["seed"] == 42, _last(jobs)["seed"]
    client.images.generate("A lake", model=model, size=small, extra_body={"steps": 5, "cfg_scale": 2.0})
    yield "StepFun's names are ignored", _last(jobs)["num_inference_steps"] != 5, _last(jobs)
    linked = client.images.generate("A lake", model=model, size=small, response_format="url").image
    fetched = client.images.download(linked)
    yield "a link is resolved and fetched", (fetched.width, fetched.height) == (256, 128), linked.url


def _last(jobs: Path) -> Mapping[str, Any]:
    job: Mapping[str, Any] = json.loads(jobs.read_text().splitlines()[-1])
    return job


REAL = (Real("litellm", LITELLM, litellm), Real("sglang", SERVERS, sglang))


def main() -> int:
    """Run the checks of the servers named, or of all; how many do not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("server", nargs="*", help=", ".join(real.name for real in REAL))
    named = parser.parse_args().server
    broken = [check for real in REAL if not named or real.name in named for check in _run(real)]
    print(f"\n{len(broken)} checks do not hold")
    return 1 if broken else 0


def _run(real: Real) -> Iterator[str]:
    if not real.environment.exists():
        print(f"{real.name}: not installed", file=sys.stderr)
        yield real.name
        return
    with TemporaryDirectory() as folder:
        for words, holds, seen in real.checks(Path(folder)):
            print(f"{real.name}: {'ok    ' if holds else 'BROKEN'} {words} ({seen})", flush=True)
            if not holds:
                yield words


if __name__ == "__main__":
    sys.exit(main())
