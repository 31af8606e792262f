"""The MCP server's tools, through the official client."""

from __future__ import annotations

import base64
import errno
import io
from pathlib import Path
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator
from mcp_types import CallToolResult, ImageContent, TextContent
from PIL import Image as pillow

from stepfun_async import capabilities
from stepfun_async.embedded import Engine, Scenario
from tests.core.schemas.values import LINK, PNG

from .conftest import Agents

pytestmark = pytest.mark.anyio


def text_of(answer: CallToolResult) -> str:
    return "\n".join(part.text for part in answer.content if isinstance(part, TextContent))


def sides(image: bytes) -> tuple[int, int]:
    return pillow.open(io.BytesIO(image)).size


# --- what clients are shown -----------------------------------------------------------------------


async def test_tools_have_flat_schemas_made_from_the_rows(agents: Agents) -> None:
    async with agents() as agent:
        tools = {tool.name: tool for tool in (await agent.mcp.list_tools()).tools}
    assert list(tools) == [
        "generate_image",
        "edit_image",
        "image_to_image",
        "check_image_request",
        "list_image_models",
    ]
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        assert not {"anyOf", "oneOf", "allOf"} & tool.input_schema.keys()
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (tool.name in ("check_image_request", "list_image_models"))
    generate = tools["generate_image"].input_schema
    assert generate["required"] == ["prompt"]
    assert tools["image_to_image"].input_schema["required"] == ["image", "prompt", "source_weight"]
    assert not {"n", "response_format", "extra_body"} & generate["properties"].keys()
    validator = Draft202012Validator(generate)
    assert validator.is_valid({"prompt": "a", "size": "16:9", "steps": 50})
    assert not validator.is_valid({"prompt": "a", "size": "768x1360"}), "an order of sides that agents get wrong"
    assert not validator.is_valid({"prompt": "a", "steps": 51})


async def test_models_are_listed_with_prices_and_sizes(agents: Agents) -> None:
    async with agents() as agent:
        models = (await agent.facts("list_image_models"))["models"]
    assert [(model["model"], model["tool"]) for model in models][:2] == [
        ("step-image-edit-2", "generate_image"),
        ("step-2x-large", "generate_image"),
    ]
    assert len(models) == len(capabilities())
    assert models[0]["prices"]["international"] == "0.003 USD"
    assert "1360 x 768 (16:9, landscape)" in models[0]["sizes"]
    assert "16:9" in models[0]["ratios"]


async def test_only_the_models_that_are_named_are_offered(agents: Agents) -> None:
    async with agents(Engine(plain=True), models=("step-2x-large",)) as agent:
        names = [tool.name for tool in (await agent.mcp.list_tools()).tools]
        assert names == ["generate_image", "image_to_image", "check_image_request", "list_image_models"]
        assert (await agent.facts("generate_image", prompt="a"))["model"] == "step-2x-large"
        refusal = await agent.refusal("generate_image", prompt="a", model="step-image-edit-2")
        assert [problem["field"] for problem in refusal["problems"]] == ["model"]


# --- making images --------------------------------------------------------------------------------


async def test_an_image_is_saved_and_shown_small(agents: Agents) -> None:
    async with agents() as agent:
        answer = await agent.call("generate_image", prompt="A red fox", size="16:9", seed=7)
        facts: dict[str, Any] = answer.structured_content
        assert facts["path"] == str(agent.out / "a-red-fox.png")
        assert (facts["width"], facts["height"], facts["seed"], facts["price"]) == (1360, 768, 7, "0.003 USD")
        assert facts["spent_so_far"] == {"USD": "0.003"}
        assert f"Saved 1360 x 768 png to {facts['path']}, seed 7" in text_of(answer)
        assert sides(Path(facts["path"]).read_bytes()) == (1360, 768)
        [preview] = [part for part in answer.content if isinstance(part, ImageContent)]
        assert preview.mime_type == "image/jpeg"
        assert max(sides(base64.b64decode(preview.data))) == 512


async def test_the_image_of_a_call_is_worked_on_by_the_next(agents: Agents) -> None:
    async with agents() as agent:
        made = await agent.facts("generate_image", prompt="A lake", model="step-2x-large", size="1:1")
        whole = await agent.facts("edit_image", image=made["path"], prompt="Make it night")
        by_name = await agent.facts("image_to_image", image=Path(made["path"]).name, prompt="In oil", source_weight=0.5)
    assert whole["path"].endswith("make-it-night.png")
    assert by_name["path"].endswith("in-oil.png")


async def test_calls_at_once_have_names_of_their_own(agents: Agents) -> None:
    paths: list[str] = []
    async with agents(Engine(plain=True)) as agent, anyio.create_task_group() as group:

        async def make() -> None:
            paths.append((await agent.facts("generate_image", prompt="A lake"))["path"])

        for _ in range(4):
            group.start_soon(make)
    assert sorted(Path(path).name for path in paths) == ["a-lake-2.png", "a-lake-3.png", "a-lake-4.png", "a-lake.png"]


async def test_progress_is_reported(agents: Agents) -> None:
    said: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        said.append(message)

    async with agents(Engine(plain=True)) as agent:
        await agent.mcp.call_tool("generate_image", {"prompt": "A lake"}, progress_callback=note)
    assert said[:2] == ["checking the arguments", "step-image-edit-2 is at work (0 s)"]


async def test_a_notice_reaches_the_agent(agents: Agents) -> None:
    async with agents(Engine(plain=True)) as agent:
        with pytest.warns(match="negative_prompt"):
            answer = await agent.call("generate_image", prompt="A lake", negative_prompt="people")
    assert "raise cfg_scale above 1.0" in text_of(answer)


# --- checking -------------------------------------------------------------------------------------


async def test_checking_prices_and_sends_nothing(agents: Agents) -> None:
    async with agents() as agent:
        checked = {"tool": "generate_image", "arguments": {"prompt": "A lake", "model": "step-2x-large"}}
        facts = await agent.facts("check_image_request", **checked)
        assert (facts["valid"], facts["price"]) == (True, "0.02 USD")
        checked["arguments"] = {"prompt": "", "steps": 99}
        refusal = await agent.refusal("check_image_request", **checked)
        assert [problem["field"] for problem in refusal["problems"]] == ["prompt", "steps"]
        assert agent.engine.bill().calls == 0


# --- what is refused ------------------------------------------------------------------------------


async def test_a_refused_request_says_what_would_be_right(agents: Agents) -> None:
    async with agents() as agent:
        answer = await agent.call("generate_image", prompt="A lake", steps=99, size={"width": 1360, "height": 770})
        facts: dict[str, Any] = answer.structured_content
        assert answer.is_error
        assert facts["billing"] == "not_sent"
        problems = {problem["field"]: problem for problem in facts["problems"]}
        assert problems["steps"]["nearest"] == 50
        assert problems["size"]["nearest"] == {"width": 1360, "height": 768}
        assert "Size(" not in text_of(answer)
        assert agent.engine.bill().calls == 0


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("generate_image", {"prompt": "a", "n": 2}, "n"),
        ("generate_image", {"prompt": "a", "extra_body": {"n": 9}}, "extra_body"),
        ("generate_image", {"prompt": "a", "response_format": "url"}, "response_format"),
        ("generate_image", {"prompt": "a", "model": "nope"}, "model"),
        ("generate_image", {"prompt": "a", "sparkle": 1}, "sparkle"),
        ("generate_image", {}, "prompt"),
        ("edit_image", {"prompt": "a", "image": LINK}, "image"),
        ("edit_image", {"prompt": "a", "image": 7}, "image"),
        ("check_image_request", {"tool": "nope", "arguments": {}}, "tool"),
        ("check_image_request", {"tool": "edit_image", "arguments": [1]}, "arguments"),
        ("list_image_models", {"model": "nope"}, "model"),
        ("no_such_tool", {}, "tool"),
    ],
)
async def test_bad_arguments_are_named(agents: Agents, tool: str, arguments: dict[str, Any], field: str) -> None:
    async with agents() as agent:
        refusal = await agent.refusal(tool, **arguments)
        assert refusal["error"] == "InvalidRequestError"
        assert field in [problem["field"] for problem in refusal["problems"]]
        assert agent.engine.bill().calls == 0


async def test_nothing_outside_the_folders_is_read(agents: Agents, tmp_path: Path) -> None:
    inside, outside = tmp_path / "photos", tmp_path / "private"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(outside / "a.png")
    (inside / "loop.png").symlink_to(inside / "loop.png")
    elsewhere = [outside / "a.png", "../private/a.png", "link.png", "loop.png", "no.png", inside, "a\0.png", "x" * 5000]
    async with agents(read=(inside,)) as agent:
        assert "path" in await agent.facts("edit_image", image=str(inside / "a.png"), prompt="a")
        assert "path" in await agent.facts("edit_image", image="a.png", prompt="a")
        for path in elsewhere:
            refusal = await agent.refusal("edit_image", image=str(path), prompt="a")
            assert "no such file in the folders" in refusal["problems"][0]["problem"], path
            style = {"source_url": str(path)}
            refusal = await agent.refusal("generate_image", model="step-1x-medium", prompt="a", style_reference=style)
            assert refusal["problems"][0]["field"] == "style_reference.source_url"
        assert agent.engine.bill().calls == 2


async def test_a_budget_that_is_used_up_is_an_answer(agents: Agents) -> None:
    async with agents(Engine(plain=True), budget="0.005") as agent:
        assert (await agent.facts("generate_image", prompt="a"))["budget_left"] == "0.002 USD"
        answer = await agent.call("generate_image", prompt="b")
        facts: dict[str, Any] = answer.structured_content
        assert (answer.is_error, facts["error"], facts["billing"]) == (True, "BudgetExceededError", "not_sent")
        assert "raise its --budget" in text_of(answer)
        assert agent.engine.bill().calls == 1


async def test_a_failure_says_what_may_have_been_billed(agents: Agents) -> None:
    async with agents(Engine(plain=True, scenario=Scenario("drop-after"))) as agent:
        refusal = await agent.refusal("generate_image", prompt="a")
    assert (refusal["error"], refusal["billing"], refusal["maybe_billed"]) == ("APIConnectionError", "unknown", 1)


async def test_a_paid_image_that_cannot_be_saved_is_in_the_answer(agents: Agents) -> None:
    async with agents(Engine(plain=True)) as agent:
        agent.out.rmdir()
        agent.out.write_bytes(b"a file in the place of the folder")
        answer = await agent.call("generate_image", prompt="a")
    assert answer.is_error
    facts: dict[str, Any] = answer.structured_content
    if facts["billing"] != "not_sent":
        [image] = [part for part in answer.content if isinstance(part, ImageContent)]
        assert sides(base64.b64decode(image.data)) == (1024, 1024)


async def test_a_full_disk_leaves_the_paid_image_in_the_result(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with agents(Engine(plain=True)) as agent:
        monkeypatch.setattr("stepfun_async._runtime.files.write_out", full)
        answer = await agent.call("generate_image", prompt="a")
    said, image = answer.content
    assert isinstance(said, TextContent)
    assert said.text.startswith("the image was made and paid for, but ")
    assert said.text.endswith("No space left on device; the image is in this result")
    assert isinstance(image, ImageContent)
    assert sides(base64.b64decode(image.data)) == (1024, 1024)
    facts: dict[str, Any] = answer.structured_content
    assert (answer.is_error, facts["attempts"], facts["maybe_billed"]) == (True, 1, 1)


async def test_a_client_that_cancels_frees_everything(agents: Agents) -> None:
    async with agents(Engine(plain=True, scenario=Scenario("hang")), slots=1) as agent:
        with anyio.CancelScope() as scope:

            async def give_up(progress: float, total: float | None, message: str | None) -> None:
                if progress >= 1:
                    scope.cancel()

            await agent.mcp.call_tool("generate_image", {"prompt": "a"}, progress_callback=give_up)
        assert scope.cancelled_caught
        agent.engine.scenario = Scenario()
        assert "path" in await agent.facts("generate_image", prompt="a")  # which waits for the one slot
        assert agent.client.limits.state.in_flight == 0
