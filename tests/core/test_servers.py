"""Server profiles: a model's row as a server takes it, and what a client then sends."""

import json
import pickle
from typing import Any

import pytest

from stepfun_async import (
    ConfigurationError,
    ImageEdit,
    ImageToImage,
    Server,
    Size,
    TextToImage,
    capabilities,
    register_model,
    register_server,
    servers,
)
from stepfun_async._core.capabilities import BUILT_IN
from stepfun_async._core.registry import row_of
from stepfun_async._core.requests import REQUESTS, ImageRequest
from tests.support.samples import noise, saved

OPEN = ("sglang", "vllm-omni", "sd-server", "localai")
IMAGE = saved(noise(), "PNG")
VERBATIM = ("stepfun", "embedded", "litellm", "openai")


def sent(request: ImageRequest, server: str) -> dict[str, Any]:
    """The parameters of a valid request, as a server of the profile gets them."""
    reading = request.read(servers(server))
    assert reading.problems() == ()
    call = reading.to_call()
    return {"path": call.path, **(dict(call.form) if call.json is None else dict(call.json))}


EVERYTHING: dict[str, Any] = {
    "prompt": "a lake",
    "size": "16:9",
    "steps": 9,
    "cfg_scale": 4.0,
    "negative_prompt": "fog",
    "seed": 7,
}
OWN_NAMES = {"size": "1360x768", "negative_prompt": "fog", "seed": 7, "model": "open", "prompt": "a lake"}
SENT: dict[str, dict[str, Any]] = {
    "sglang": {**OWN_NAMES, "num_inference_steps": 9, "guidance_scale": 4.0, "response_format": "b64_json"},
    "vllm-omni": {**OWN_NAMES, "num_inference_steps": 9, "true_cfg_scale": 4.0, "response_format": "b64_json"},
    "sd-server": {
        "model": "open",
        "size": "1360x768",
        "prompt": 'a lake <sd_cpp_extra_args>{"negative_prompt":"fog","sample_params":{"guidance":{"txt_cfg":4.0},'
        '"sample_steps":9},"seed":7}</sd_cpp_extra_args>',
    },
}


@pytest.mark.parametrize("server", SENT)
def test_a_model_of_an_open_engine_needs_one_line(server: str) -> None:
    model = register_model("open", server=server)
    assert sent(TextToImage(model=model, **EVERYTHING), server) == {"path": "/images/generations", **SENT[server]}


def test_the_names_of_a_registered_model_hold_with_every_client() -> None:
    model = register_model("open", server="sglang")
    for server in ("openai", "litellm", "sglang"):
        assert sent(TextToImage(model=model, **EVERYTHING), server)["num_inference_steps"] == 9
    adapted = TextToImage(model=model, **EVERYTHING).read(servers("vllm-omni")).to_call()
    assert adapted.json is not None
    assert adapted.json["true_cfg_scale"] == 4.0


def test_a_name_of_the_wire_can_be_given() -> None:
    model = register_model("flux", server="vllm-omni", wire_names={"cfg_scale": "guidance_scale"})
    said = sent(TextToImage(model=model, prompt="a lake", cfg_scale=3.5, steps=4), "vllm-omni")
    assert (said["guidance_scale"], said["num_inference_steps"]) == (3.5, 4)


def test_image_to_image_is_an_edit_with_a_strength_on_vllm_omni() -> None:
    model = register_model("open", server="vllm-omni")
    said = sent(ImageToImage(model=model, image=IMAGE, prompt="in oil", source_weight=0.4, steps=3), "vllm-omni")
    assert said == {
        "path": "/images/edits",
        "model": "open",
        "prompt": "in oil",
        "strength": "0.4",
        "num_inference_steps": "3",
        "response_format": "b64_json",
    }


@pytest.mark.parametrize("server", servers(), ids=lambda server: server.name)
def test_every_parameter_of_a_profile_is_one_of_the_operation(server: Server) -> None:
    for operation, route in server.routes.items():
        assert set(route.rules) <= set(REQUESTS[operation].model_fields), (server.name, operation)


@pytest.mark.parametrize("server", OPEN)
def test_sizes_are_width_by_height_on_open_servers(server: str) -> None:
    landscape = Size(width=1360, height=768)
    assert sent(TextToImage(prompt="a lake", size=landscape), server)["size"] == "1360x768"
    assert sent(TextToImage(prompt="a lake", size=landscape), "openai")["size"] == "768x1360"


@pytest.mark.parametrize("server", VERBATIM)
def test_stepfuns_rows_stay_as_they_are(server: str) -> None:
    for row in BUILT_IN:
        adapted = row_of(row.model, row.operation, servers(server))
        assert adapted is row or (server, row.operation, adapted) == ("litellm", "image_to_image", None)


@pytest.mark.parametrize("server", OPEN)
def test_a_parameter_that_a_server_does_not_have_is_a_problem(server: str) -> None:
    (problem,) = TextToImage(prompt="a lake", text_mode=True).read(servers(server)).problems()
    assert problem.field == "text_mode"
    assert server in problem.why


@pytest.mark.parametrize("server", ["sglang", "litellm", "sd-server"])
def test_image_to_image_is_a_problem_where_no_server_has_it(server: str) -> None:
    (problem,) = ImageToImage(image=IMAGE, prompt="in oil", source_weight=0.4).read(servers(server)).problems()
    assert (problem.field, problem.given, problem.allowed) == ("operation", "image_to_image", "text_to_image, edit")
    assert "edit() takes an image and a prompt" in problem.why


def test_a_format_that_a_server_does_not_return_is_a_problem() -> None:
    (problem,) = TextToImage(prompt="a lake", response_format="url").read(servers("vllm-omni")).problems()
    assert (problem.field, problem.allowed) == ("response_format", "'b64_json'")


@pytest.mark.parametrize(
    ("server", "lacks"), [("sglang", True), ("sd-server", True), ("vllm-omni", False), ("openai", False)]
)
def test_a_client_draws_the_seed_where_the_server_uses_the_same_each_time(server: str, lacks: bool) -> None:
    assert TextToImage(prompt="a lake").read(servers(server)).lacks_seed is lacks
    assert not TextToImage(prompt="a lake", seed=0).read(servers(server)).lacks_seed
    assert not TextToImage(prompt="a lake", extra_body={"seed": 5}).read(servers(server)).lacks_seed


def test_a_seed_of_0_is_a_seed_on_open_servers() -> None:
    request = TextToImage(model="step-2x-large", prompt="a lake", seed=0)
    assert request.notices()
    assert request.read(servers("sglang")).notices() == ()
    assert request.read(servers("sglang")).seed_sent == 0
    assert request.read().seed_sent is None


SIZES = [
    ("1024x768", "1024x768", None),
    ("16:9", "1360x768", None),
    ("1:1", "1024x1024", None),
    (Size(width=250, height=130), "250x130", None),
    ("1024*768", None, "1024x768"),
    ("banana", None, None),
    ("0x10", None, None),
    ("99999x10", None, Size(width=4096, height=10)),
    ((1024, 768), None, None),
]


@pytest.mark.parametrize(("size", "wire", "nearest"), SIZES)
def test_any_size_takes_sizes_ratios_and_strings(size: Any, wire: str | None, nearest: object) -> None:
    rule = capabilities(register_model("open", server="sglang"), "text_to_image").rules["size"]
    fault = rule.judge(size)
    if wire is not None:
        assert (fault, rule.to_wire(size)) == (None, wire)
    else:
        assert fault is not None
        assert fault.nearest == nearest


def test_a_ratio_means_the_area_of_the_default_size_where_any_size_is_made() -> None:
    model = register_model("sd15", server="diffusers", defaults={"size": "512x512"})
    rule = capabilities(model, "text_to_image").rules["size"]
    assert (rule.default, rule.to_wire("16:9")) == ("512x512", "688x384")


def test_sizes_ranges_and_defaults_of_a_model_narrow_the_servers() -> None:
    model = register_model(
        "turbo", server="sglang", sizes=["512x512"], ranges={"steps": (1, 8)}, defaults={"steps": 4}, without=["n"]
    )
    rules = capabilities(model, "text_to_image").rules
    assert (rules["steps"].default, rules["steps"].allowed) == (4, "a whole number from 1 to 8")
    assert "n" not in rules
    assert [problem.field for problem in TextToImage(model=model, prompt="x", size="16:9", steps=9).problems()] == [
        "size",
        "steps",
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "x"}, "say what 'x' is like"),
    ({"name": "x", "server": "vlm-omni"}, "Did you mean 'vllm-omni'"),
    ({"name": "x", "server": "litellm"}, "has no parameters of its own"),
    ({"name": "x", "server": "localai", "operations": ["edit"]}, "has none of the operations edit"),
    ({"name": "x", "server": "sglang", "wire_names": {"text_mode": "t"}}, "has no parameter text_mode; it has prompt"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_a_model_that_cannot_be_described_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        register_model(**given)


def test_a_server_is_registered_by_how_it_differs() -> None:
    server = register_server(
        "studio",
        wire_names={"steps": "sampling_steps", "seed": "noise"},
        without=["n"],
        formats=["b64_json"],
        seeding="fixed",
        headers={"x-team": "art"},
        needs_key=False,
    )
    assert servers("studio") is server
    model = register_model("studio-1", server="studio")
    said = sent(TextToImage(model=model, prompt="a lake", steps=3, seed=5), "studio")
    assert (said["sampling_steps"], said["noise"]) == (3, 5)
    assert TextToImage(model=model, prompt="a lake").read(server).lacks_seed
    assert [p.field for p in TextToImage(model=model, prompt="a", n=2, response_format="url").problems()] == [
        "response_format",
        "n",
    ]
    assert "sampling_steps" in str(server)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "sglang"}, "built-in"),
        ({"name": "x", "like": "nobody"}, "no server profile 'nobody'"),
        ({"name": "x", "operations": []}, "none of the operations"),
        ({"name": "x", "without": ["colour"]}, "no parameter colour; known: "),
        ({"name": ""}, "name of a server profile is text"),
        ({"name": "x", "address": "studio.example"}, "write https://host/v1"),
        ({"name": "x", "wire_names": {"steps": "x", "seed": "x"}}, "send steps and seed under one name, 'x'"),
        ({"name": "x", "wire_names": {"steps": "prompt"}}, "send prompt and steps under one name"),
        ({"name": "x", "wire_names": {"steps": "model"}}, "send steps and the model under one name"),
        ({"name": "x", "wire_names": {"steps": 3}}, "wire_names has 3 for steps"),
        ({"name": "x", "like": "sd-server", "wire_names": {"steps": "seed"}}, "under one name, 'seed'"),
        ({"name": "x", "like": "litellm", "wire_names": {"steps": "s"}}, "hands a model's parameters on"),
        ({"name": "x", "like": "stepfun", "without": ["steps"]}, "so that without does not fit it"),
        ({"name": "x", "seeding": "fix"}, "allowed: random, fixed, not known"),
        ({"name": "x", "seeding": "fixed"}, "say wire_names={'seed': 'seed'}"),
        ({"name": "x", "formats": "b64_json"}, r"write \['b64_json'\]"),
        ({"name": "x", "formats": ["png"]}, "formats has 'png'; allowed: b64_json, url"),
        ({"name": "x", "like": "sd-server", "formats": ["url"]}, "formats needs a response_format"),
        ({"name": "x", "without": "steps"}, r"write \['steps'\]"),
        ({"name": "x", "without": ["prompt"]}, "every text_to_image has prompt"),
        ({"name": "x", "operations": ["edits"]}, "Did you mean 'edit'"),
        ({"name": "x", "headers": ["x-team"]}, "headers is a mapping"),
        ({"name": "x", "needs_key": "no"}, "True, False or None, not 'no'"),
    ],
)
def test_a_server_that_cannot_be_described_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        register_server(**given)


@pytest.mark.parametrize("server", servers(), ids=lambda server: server.name)
def test_profiles_and_adapted_rows_pickle_and_print(server: Server) -> None:
    assert pickle.loads(pickle.dumps(server)) == server
    assert str(server).startswith(f"{server.name}: ")
    assert server.source
    for row in server.open_rows("open"):
        again = pickle.loads(pickle.dumps(row))
        assert (again, again.wire_names, again.endpoint) == (row, row.wire_names, row.endpoint)


def test_an_edit_of_stepfuns_model_takes_a_size_on_servers_that_do() -> None:
    said = sent(ImageEdit(image=IMAGE, prompt="make it night", size="512x512", steps=4), "sglang")
    assert (said["size"], said["num_inference_steps"]) == ("512x512", "4")


def test_the_tag_of_sd_server_is_json() -> None:
    said = sent(TextToImage(prompt='a "lake"', seed=3), "sd-server")
    prompt, _, tag = said["prompt"].partition(" <sd_cpp_extra_args>")
    assert prompt == 'a "lake"'
    assert json.loads(tag.removesuffix("</sd_cpp_extra_args>")) == {"seed": 3}
    assert sent(TextToImage(prompt="a lake"), "sd-server")["prompt"] == "a lake"
