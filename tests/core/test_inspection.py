"""What responses to GETs show of a server: shapes recorded from LiteLLM, SGLang and vLLM-Omni, and read of others."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from stepfun_async._core.inspection import ACCOUNT, MODELS, PROBES, report_of
from stepfun_async._core.servers import DEFAULT_SERVER, find_server
from stepfun_async._core.wire import HTTPResponse

GENERATIONS, EDITS, IMAGE_TO_IMAGE = PROBES[2:]
Response = tuple[int, Any, Mapping[str, str]]
Recorded = Mapping[str, Response]

NOT_FOUND: Response = (404, {"detail": "Not Found"}, {})
NOT_ALLOWED: Response = (405, {"detail": "Method Not Allowed"}, {})
LITELLM = {"x-litellm-call-id": "1"}


def listed(*models: Mapping[str, Any]) -> Response:
    return 200, {"object": "list", "data": list(models)}, {}


def openai_shaped(models: Response, **others: Any) -> Recorded:
    """A FastAPI server with two of the endpoints."""
    usual = {MODELS: models, ACCOUNT: NOT_FOUND, GENERATIONS: NOT_ALLOWED, EDITS: NOT_ALLOWED}
    return {**usual, IMAGE_TO_IMAGE: NOT_FOUND, **others}


SGLANG = openai_shaped(listed({"id": "Qwen/Qwen-Image", "object": "model", "owned_by": "sglang"}))
OMNI = openai_shaped(listed({"id": "Qwen/Qwen-Image-Edit", "object": "model", "owned_by": "vllm"}))
CASES: list[tuple[Recorded, str, dict[str, bool | None], str]] = [
    (SGLANG, "sglang", {"text_to_image": True, "edit": True, "image_to_image": False}, "register_model"),
    (OMNI, "vllm-omni", {"text_to_image": True, "edit": True, "image_to_image": False}, "register_model"),
    (
        {path: (status, body, LITELLM) for path, (status, body, _) in OMNI.items()},
        "litellm",
        {"text_to_image": True, "edit": True, "image_to_image": False},
        "Client",
    ),
    (
        openai_shaped(listed({"id": "step-image-edit-2", "created": 1677610602, "owned_by": "openai"})),
        "litellm",
        {"text_to_image": True, "edit": True, "image_to_image": False},
        "Client",
    ),
    (
        {
            MODELS: listed({"id": "sd-cpp-local", "object": "model", "owned_by": "local"}),
            **dict.fromkeys((ACCOUNT, GENERATIONS, EDITS, IMAGE_TO_IMAGE), (404, "", {})),
        },
        "sd-server",
        {"text_to_image": None, "edit": None, "image_to_image": None},
        "register_model",
    ),
    (
        dict.fromkeys(PROBES, (401, {"error": {"message": "no key"}}, {})),
        "openai",
        {"text_to_image": None, "edit": None, "image_to_image": None},
        "Client",
    ),
    (
        dict.fromkeys(PROBES, (200, "<html>hello</html>", {})),
        "openai",
        {"text_to_image": None, "edit": None, "image_to_image": None},
        "Client",
    ),
    (
        dict.fromkeys(PROBES, (404, [1, {"data": 5}], {})),
        "openai",
        {"text_to_image": False, "edit": False, "image_to_image": False},
        "Client",
    ),
]


def responses(recorded: Recorded) -> dict[str, HTTPResponse]:
    return {
        path: HTTPResponse(status, headers, (body if isinstance(body, str) else json.dumps(body)).encode())
        for path, (status, body, headers) in recorded.items()
    }


@pytest.mark.parametrize(("recorded", "server", "operations", "code"), CASES)
def test_responses_show_the_server_and_what_it_has(
    recorded: Recorded, server: str, operations: dict[str, bool | None], code: str
) -> None:
    report = report_of(responses(recorded), base_url="http://localhost/v1", configured=DEFAULT_SERVER, hosted=False)
    assert (report.server.name, dict(report.operations)) == (server, operations)
    assert report.code[-1].startswith(code)
    assert str(report).startswith(f"http://localhost/v1: {server}, ")
    assert report.fits == (server == "openai")


def test_an_address_without_the_api_below_it_is_called_so_and_not_offered() -> None:
    nothing = responses(dict.fromkeys(PROBES, NOT_FOUND))
    report = report_of(nothing, base_url="http://localhost", configured=DEFAULT_SERVER, hosted=False)
    assert "most base URLs end in /v1" in str(report)
    assert "to use it" not in str(report)
    assert not report_of(responses(OMNI), base_url="u", configured=DEFAULT_SERVER, hosted=False).is_empty


def test_an_operation_with_another_endpoint_is_there_where_that_is() -> None:
    report = report_of(responses(OMNI), base_url="u", configured=find_server("vllm-omni"), hosted=False)
    assert "image_to_image: sent to /images/edits" in str(report)
    assert report.fits


def test_what_the_client_says_holds_where_nothing_shows_the_server() -> None:
    empty = openai_shaped(listed())
    report = report_of(responses(empty), base_url="u", configured=find_server("localai"), hosted=False)
    assert (report.server.name, report.sign, report.models) == ("localai", "the client's settings", ())


def test_the_names_of_models_cannot_forge_lines() -> None:
    forged = openai_shaped(listed({"id": "a\nkey: fine", "owned_by": "sglang"}, {"id": 5}, {}))
    report = report_of(responses(forged), base_url="u", configured=DEFAULT_SERVER, hosted=False)
    assert report.models == (r"a\nkey: fine",)
