"""The table of server profiles: one row for each kind of server. A changed fact is one changed cell here."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from .capabilities import ENDPOINTS, WIRE_NAMES, Operation
from .image_rules import ImageInput
from .profiles import Route, Server, make_route
from .rules import Choice, Integer, Number, Rule, Text
from .size_rules import AnySize

_GENERATIONS, _EDITS = ENDPOINTS["text_to_image"], ENDPOINTS["edit"]
_MOST_SEEDS = 2**31 - 1
_MEGABYTES = 1024 * 1024

_PROMPT = Text(required=True, minimum=1, maximum=100_000, source="server")
_NEGATIVE = Text(minimum=0, maximum=100_000, source="server")
_SIZE = AnySize(source="server")
_B64 = Choice(options=("b64_json",), default="b64_json", source="server")
_B64_OR_URL = Choice(options=("b64_json", "url"), default="url", source="server")
_IMAGE = ImageInput(
    required=True, formats=("png", "jpeg", "webp"), max_bytes=64 * _MEGABYTES, max_side=16384, source="server"
)
_STRENGTH = Number(
    required=True, minimum=0.0, above=True, maximum=1.0, source="server", note="smaller: closer to the source"
)
_SEED = Integer(minimum=0, maximum=_MOST_SEEDS, source="server", note="absent: random")
_SEED_42 = Integer(minimum=0, maximum=_MOST_SEEDS, drawn=True, source="server", note="absent: 42, so one is drawn")


def _count(maximum: int) -> Integer:
    return Integer(minimum=1, maximum=maximum, default=1, source="server")


def _steps(maximum: int) -> Integer:
    return Integer(minimum=1, maximum=maximum, source="server")


def _guidance(maximum: float) -> Number:
    return Number(minimum=0.0, maximum=maximum, source="server")


_STEPFUN_ROUTES: Mapping[Operation, Route] = MappingProxyType(
    {operation: Route(endpoint=endpoint, renamed=WIRE_NAMES[operation]) for operation, endpoint in ENDPOINTS.items()}
)

_SGLANG_NAMES = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale"}
_OMNI_NAMES = {"steps": "num_inference_steps", "cfg_scale": "true_cfg_scale"}
_CPP_NAMES = {
    "seed": "seed",
    "negative_prompt": "negative_prompt",
    "steps": "sample_params.sample_steps",
    "cfg_scale": "sample_params.guidance.txt_cfg",
}

_SGLANG: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
    "seed": _SEED_42,
    "steps": _steps(1000),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
}
_OMNI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": replace(_SIZE, note="absent: the model's own"),
    "n": _count(10),
    "response_format": _B64,
    "seed": replace(_SEED, maximum=2**63 - 1),
    "steps": _steps(200),
    "cfg_scale": _guidance(20.0),
    "negative_prompt": _NEGATIVE,
}
_OMNI_EDIT: Mapping[str, Rule] = {**_OMNI, "image": _IMAGE, "size": replace(_SIZE, note="absent: that of the image")}
_CPP: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(8),
    "seed": _SEED_42,
    "steps": _steps(100),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
}
_LOCALAI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
    "seed": replace(_SEED_42, note="absent: the model's configuration says, so one is drawn"),
    "steps": _steps(1000),
}
_DIFFUSERS: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": AnySize(minimum=64, maximum=4096, source="server"),
    "n": _count(1),
    "response_format": _B64_OR_URL,
    "seed": _SEED,
    "steps": _steps(500),
    "cfg_scale": _guidance(50.0),
    "negative_prompt": _NEGATIVE,
}
_OPENAI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
}


ANY_PARAMETER: Mapping[str, Rule] = {
    "seed": _SEED,
    "steps": _steps(1000),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
    "source_weight": _STRENGTH,
}
"""The rules of parameters that `register_server` adds to a profile without them."""


def _with_image(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    return {"image": _IMAGE, **rules}


def _without(rules: Mapping[str, Rule], name: str, **others: Rule) -> Mapping[str, Rule]:
    return {**{each: rule for each, rule in rules.items() if each != name}, **others}


BUILT_IN_SERVERS: tuple[Server, ...] = (
    Server(
        name="stepfun",
        title="StepFun's own hosts, international and China, the Step Plan, and proxies in front of them",
        routes=_STEPFUN_ROUTES,
        verbatim=True,
        native=True,
        seeding="random",
        address="https://api.stepfun.ai/v1",
        has_fixed_address=True,
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        notes=(
            "China: https://api.stepfun.com/v1. Step Plan: .../step_plan/v1, without an image model since 2026-09-20.",
            "The image models were announced to stop on 2026-10-10.",
        ),
        source="StepFun documentation, 2026-06 to 2026-10",
    ),
    Server(
        name="embedded",
        title="the engine of this package, in the process or behind `stepfun-async serve`",
        routes=_STEPFUN_ROUTES,
        verbatim=True,
        native=True,
        seeding="random",
        needs_key=False,
        address="embedded",
        has_fixed_address=True,
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        source="this package",
    ),
    Server(
        name="diffusers",
        title="a local model behind `stepfun-async serve --engine diffusers`",
        routes=MappingProxyType(
            {
                "text_to_image": make_route(_GENERATIONS, _DIFFUSERS),
                "edit": make_route(_EDITS, _with_image(_DIFFUSERS)),
                "image_to_image": make_route(
                    ENDPOINTS["image_to_image"],
                    _without(_with_image(_DIFFUSERS), "negative_prompt", source_weight=_STRENGTH),
                    WIRE_NAMES["image_to_image"],
                ),
            }
        ),
        seeding="random",
        address="http://127.0.0.1:8000/v1",
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        notes=(
            "Which operations and parameters a model has depends on its pipeline; others are refused with 400.",
            "It makes one image at a time; where too many wait, it answers 429 with Retry-After.",
            "Any key will do, unless the server was given some.",
        ),
        source="run: this package, with diffusers 0.42.1",
    ),
    Server(
        name="litellm",
        title="LiteLLM's proxy, with the entry `model: hosted_vllm/NAME` for each model",
        routes=MappingProxyType({name: _STEPFUN_ROUTES[name] for name in ("text_to_image", "edit")}),
        verbatim=True,
        headers=MappingProxyType({"x-litellm-num-retries": "0"}),
        address="http://localhost:4000/v1",
        returns="created; no seed, finish_reason or X-Trace-Id",
        errors='{"error": {"message", "type", "param", "code"}}, with the status as text in code',
        notes=(
            "An entry `openai/NAME` refuses response_format with 400 before anything is sent.",
            "Without the header, it sends a failed request up to 9 times; with it once, up to 3 times before 1.110.",
            "An image that the content filter withheld arrives as an item with neither image nor link.",
        ),
        source="run: 1.110.2, 1.106.2, 1.108.7",
    ),
    Server(
        name="sglang",
        title="SGLang's diffusion server",
        routes=MappingProxyType(
            {
                "text_to_image": make_route(_GENERATIONS, _SGLANG, _SGLANG_NAMES),
                "edit": make_route(_EDITS, _with_image(_SGLANG), _SGLANG_NAMES),
            }
        ),
        seeding="fixed",
        needs_key=False,
        address="http://localhost:30000/v1",
        returns="created, id; no seed or finish_reason",
        errors='{"detail": "text"} with 400, {"detail": [...]} with 422, plain text with 500',
        notes=(
            "Without a seed, every image is drawn with seed 42.",
            "steps, cfg_scale and text_mode under StepFun's names are ignored without an error.",
            "It serves one model, and ignores the name in the request.",
            "response_format url needs --output-path.",
        ),
        source="run: wheel 0.5.23 with the engine replaced",
    ),
    Server(
        name="vllm-omni",
        title="vLLM-Omni's server",
        routes=MappingProxyType(
            {
                "text_to_image": make_route(_GENERATIONS, _OMNI, _OMNI_NAMES),
                "edit": make_route(_EDITS, _OMNI_EDIT, _OMNI_NAMES),
                "image_to_image": make_route(
                    _EDITS,
                    _without(_OMNI_EDIT, "negative_prompt", source_weight=_STRENGTH),
                    {**_OMNI_NAMES, "source_weight": "strength"},
                ),
            }
        ),
        seeding="random",
        needs_key=False,
        address="http://localhost:8091/v1",
        returns="created; no seed, finish_reason or id",
        errors='{"error": {"message", "type", "param", "code"}}, bad parameters with 400; {"error": "text"} with 401; '
        '{"detail": "text"} with 404 for a path that it does not have',
        notes=(
            "steps, cfg_scale and text_mode under StepFun's names are ignored without an error.",
            "cfg_scale is sent as true_cfg_scale; models of distilled guidance, such as Flux, take guidance_scale.",
            "image_to_image is sent to /images/edits, with source_weight as strength.",
            "It serves one model, and refuses every name but the first of --served-model-name with 400.",
            "It has no path for a single model: models.retrieve() gets 404, so use models.list().",
            "Its PNGs are not compressed, unless extra_body has output_compression, such as 40.",
            "Edits are not checked against the ranges of n, steps and cfg_scale, which are those of text to image.",
        ),
        source="run: 0.30.0 with the engine replaced",
    ),
    Server(
        name="sd-server",
        title="stable-diffusion.cpp's sd-server",
        routes=MappingProxyType(
            {
                "text_to_image": make_route(_GENERATIONS, _CPP, _CPP_NAMES, "sd_cpp_extra_args"),
                "edit": make_route(_EDITS, _with_image(_CPP), _CPP_NAMES, "sd_cpp_extra_args"),
            }
        ),
        seeding="fixed",
        needs_key=False,
        address="http://localhost:1234/v1",
        returns="created; no seed, finish_reason or id",
        errors='{"error": "text"}',
        notes=(
            "Seed, steps, cfg_scale and negative_prompt go into the prompt, in the tag <sd_cpp_extra_args>.",
            "Without a seed, every image is drawn with seed 42, unless the server was started with --seed -1.",
            "It serves one model, and ignores the name in the request. It returns base64 only.",
        ),
        source="read: source of 2026 (examples/server/api.md, routes_openai.cpp); not run",
    ),
    Server(
        name="localai",
        title="LocalAI",
        routes=MappingProxyType({"text_to_image": make_route(_GENERATIONS, _LOCALAI, {"steps": "step"})}),
        seeding="not known",
        needs_key=False,
        address="http://localhost:8080/v1",
        returns="created, id; no seed or finish_reason",
        errors='{"error": {"message", "type", "code"}}',
        notes=(
            "A | in the prompt begins the negative prompt.",
            "Without a size, or with one it cannot read, images are 512x512.",
        ),
        source="read: source of 2025 (core/http/endpoints/openai/image.go); not run",
    ),
    Server(
        name="openai",
        title="any other server of this shape; the profile of every address that is not known",
        routes=MappingProxyType(
            {
                "text_to_image": make_route(_GENERATIONS, _OPENAI),
                "edit": make_route(_EDITS, _with_image(_OPENAI)),
                "image_to_image": _STEPFUN_ROUTES["image_to_image"],
            }
        ),
        verbatim=True,
        returns="as the server does",
        errors='{"error": {"message", "type"}}, or whatever the server sends',
        notes=("Models of the table are sent in StepFun's own form, so gateways in front of StepFun need no profile.",),
        source="OpenAI's documentation of images, 2026",
    ),
)
"""Every profile of this package."""
