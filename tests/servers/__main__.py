"""`python -m tests.servers`: the client against real servers; prints a line for each check, and fails if one does."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image as pillow

from stepfun_async import APIStatusError, Client, InternalServerError, NotFoundError, Size, register_model
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


def _image() -> bytes:
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
    edited = client.images.edit(_image(), "Make it blue", **given).image
    arrived = log.calls[-1].parameters
    yield "every parameter of edit() arrives", {name: arrived.get(name) for name in given} == given, edited.format
    try:
        Client("k", base_url=client.base_url).images.image_to_image(_image(), "In oil", source_weight=0.5)
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


# --- applications of wheels ---------------------------------------------------------------------


@contextmanager
def _application(name: str, folder: Path) -> Iterator[str]:
    """The application of a wheel, with its jobs in `folder`; its base URL."""
    (port,) = free_ports(1)
    program = Path(__file__).parent / f"{name.replace('-', '_')}_app.py"
    command: list[str | Path] = [SERVERS / name / "bin" / "python", program, str(port), folder]
    with running(command, [port], log=folder / f"{name}.log", env={"HF_HUB_OFFLINE": "1"}, within=_START):
        yield f"http://{HOST}:{port}/v1"


def _last(jobs: Path) -> Mapping[str, Any]:
    job: Mapping[str, Any] = json.loads(jobs.read_text().splitlines()[-1])
    return job


# --- SGLang -------------------------------------------------------------------------------------


def sglang(folder: Path) -> Iterator[Check]:
    """The application of the wheel: which parameters reach the engine, and which formats come back."""
    with _application("sglang", folder) as url, Client(base_url=url, server="sglang", timeout=100) as client:
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


# --- vLLM-Omni ----------------------------------------------------------------------------------


def vllm_omni(folder: Path) -> Iterator[Check]:
    """`vllm serve --omni`: which parameters reach the engine, and what its errors look like."""
    with _application("vllm-omni", folder) as url:
        with Client("wrong", base_url=url, server="vllm-omni") as client:
            yield _refused("a wrong key", 401, "Unauthorized", client.models.list)
        with Client("key", base_url=url, server="vllm-omni", timeout=100) as client:
            yield from _found_by_omni(client)
            yield from _drawn_by_omni(client, folder / "jobs.jsonl")
            yield from _refused_by_omni(client)


def _found_by_omni(client: Client) -> Iterator[Check]:
    report = client.server.inspect()
    yield "inspect() recognizes it", (report.server.name, report.models) == ("vllm-omni", (QWEN, "alias")), report.sign
    yield "image-to-image has no path of its own", report.operations["image_to_image"] is False, dict(report.operations)
    yield "models.list() lists all names", [model.id for model in client.models.list()] == [QWEN, "alias"], ""
    yield _refused("models.retrieve()", 404, "no such path", lambda: client.models.retrieve(QWEN))


def _drawn_by_omni(client: Client, jobs: Path) -> Iterator[Check]:
    images, model = client.images, register_model(QWEN, server="vllm-omni")
    given: dict[str, Any] = {"steps": 12, "cfg_scale": 3.5, "negative_prompt": "fog", "seed": 2**63 - 1}
    drawn = {"num_inference_steps": 12, "true_cfg_scale": 3.5, "negative_prompt": "fog", "seed": 2**63 - 1}
    image = images.generate("A lake", model=model, size="16:9", **given).image
    yield "generate() returns the size asked for", (image.width, image.height) == (1360, 768), image.format
    yield "every parameter of generate() arrives", drawn.items() <= _last(jobs).items(), _last(jobs)
    yield "the seed is the one sent", image.seed == 2**63 - 1, image.seed
    small = Size(width=128, height=64)
    seeds = [(images.generate("A lake", model=model, size=small), _last(jobs)["seed"])[1] for _ in range(2)]
    yield "seeds are drawn there", seeds[0] != seeds[1], seeds
    many = images.generate("A lake", model=model, size=small, n=2)
    yield "n images come back", len(many.data) == 2, _last(jobs)["n"]
    images.generate("A lake", model=model, size=small, extra_body={"steps": 5, "cfg_scale": 2.0})
    job = _last(jobs)
    yield "StepFun's names are ignored", (job["num_inference_steps"], job["true_cfg_scale"]) == (None, None), job
    flat = images.generate("A lake", model=model, size=small).image
    yield (
        "PNGs are not compressed",
        flat.format == "png" and len(flat.data or b"") > 128 * 64 * 3,
        len(flat.data or b""),
    )
    packed = images.generate("A lake", model=model, size=small, extra_body={"output_compression": 40}).image
    yield "output_compression compresses them", len(packed.data or b"") < 128 * 64, len(packed.data or b"")
    edited = images.edit(_image(), "Make it blue", model=model, **given).image
    yield "every parameter of edit() arrives", drawn.items() <= _last(jobs).items(), _last(jobs)
    yield "an edit has the size of the image", (edited.width, edited.height) == (96, 64), _last(jobs)["images"]
    images.edit(_image(), "Make it blue", model=model, size=small)
    yield "an edit takes a size", (_last(jobs)["width"], _last(jobs)["height"]) == (128, 64), _last(jobs)
    given = {"steps": 12, "cfg_scale": 3.5, "seed": 7, "extra_body": {"negative_prompt": "fog"}}
    varied = images.image_to_image(_image(), "In oil", model=model, source_weight=0.4, **given)
    drawn = {
        "strength": 0.4,
        "num_inference_steps": 12,
        "true_cfg_scale": 3.5,
        "seed": 7,
        "negative_prompt": "fog",
        "images": [[96, 64]],
    }
    yield "every parameter of image_to_image() arrives", drawn.items() <= _last(jobs).items(), varied.image.format


def _refused_by_omni(client: Client) -> Iterator[Check]:
    images = client.images
    model, alias = (register_model(name, server="vllm-omni") for name in (QWEN, "alias"))
    yield _refused("every name but the first", 400, "Model mismatch", lambda: images.generate("A lake", model=alias))
    for field, value in (("size", "1024*1024"), ("response_format", "url"), ("num_inference_steps", 201), ("n", 11)):
        call = partial(images.generate, "A lake", model=model, extra_body={field: value})
        yield _refused(f"{field} {value}", 400, "1 validation error", call)
        if field in ("size", "response_format"):
            call = partial(images.edit, _image(), "Blue", model=model, extra_body={field: value})
            yield _refused(f"{field} {value} of an edit", 400, str(value) if field == "size" else "b64_json", call)
    for prompt, words in (("Fail", "Image generation failed: out of memory"), ("Break", "the stage broke")):
        yield _refused(f"{prompt} in the engine", 500, words, partial(images.generate, prompt, model=model))


def _refused(what: str, status: int, words: str, call: Callable[[], object]) -> Check:
    """Whether a call is refused with a status, and the server's words are the message."""
    try:
        call()
    except APIStatusError as error:
        return f"{what}: {status}", error.status == status and words in error.message, error.message
    return f"{what}: {status}", False, "not refused"


REAL = (
    Real("litellm", LITELLM, litellm),
    Real("sglang", SERVERS / "sglang", sglang),
    Real("vllm-omni", SERVERS / "vllm-omni", vllm_omni),
)


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
