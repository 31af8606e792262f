"""Editing with a tiny Flux Kontext: the pipeline of diffusers, with random weights."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stepfun_async import Client, Size
from stepfun_async.diffusers import DiffusersEngine, pipelines
from tests.embedded.asking import content, photo, post


@pytest.fixture(scope="module")
def engine(models: Path) -> Iterator[DiffusersEngine]:
    """An engine in use, whose model was made for 128x128 and looks at images in 64x64."""
    with pytest.MonkeyPatch.context() as patch:
        kontext = import_module("diffusers.pipelines.flux.pipeline_flux_kontext")
        patch.setattr(kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(64, 64)])
        patch.setattr(pipelines, "_made_for", lambda _: Size(width=128, height=128))
        with DiffusersEngine(models / "tiny-kontext", "cpu") as engine:
            yield engine


@pytest.fixture
def client(engine: DiffusersEngine) -> Iterator[Client]:
    with Client(base_url="diffusers") as client:
        yield client


@pytest.fixture
def calls(engine: DiffusersEngine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """The arguments of each call of the pipeline, and the size of what it returned."""
    cls = type(engine.backend._pipelines["edit"].call)  # type: ignore[attr-defined]
    real, calls = cls.__call__, []

    def call(self: Any, **said: Any) -> Any:
        output = real(self, **said)
        calls.append((said, output.images[0].size))
        return output

    call.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]
    monkeypatch.setattr(cls, "__call__", call)
    return calls


@pytest.mark.parametrize(
    ("source", "size", "made", "got"),
    [
        ((160, 90), "64x64", (64, 64), (64, 64)),
        ((160, 90), "100x64", (112, 64), (100, 64)),
        ((160, 90), None, (176, 96), (176, 96)),
        ((90, 160), None, (96, 176), (96, 176)),
        ((160, 90), "1:1", (128, 128), (128, 128)),
    ],
)
def test_an_edit_makes_the_size_asked_for_or_that_of_the_model_in_the_ratio_of_the_source(
    client: Client,
    engine: DiffusersEngine,
    calls: list[Any],
    source: tuple[int, int],
    size: str | None,
    made: tuple[int, int],
    got: tuple[int, int],
) -> None:
    more: dict[str, Any] = {} if size is None else {"size": size}
    image = client.images.edit(photo(*source), "In snow", model=engine.model, steps=1, **more).image
    ((_, returned),) = calls
    assert (returned, (image.width, image.height)) == (made, got)


def test_an_edit_sends_the_image_in_rgb_and_the_guidance_that_was_distilled(
    client: Client, engine: DiffusersEngine, calls: list[Any]
) -> None:
    clear = io.BytesIO()
    Image.new("RGBA", (80, 70)).save(clear, "PNG")

    def made(source: bytes, **more: Any) -> bytes:
        asked: dict[str, Any] = {"size": "64x64", "steps": 1, "seed": 7, **more}
        return client.images.edit(source, "In snow", model=engine.model, **asked).image.to_bytes()

    first = made(photo(80, 70))
    assert made(photo(80, 70)) == first
    assert len({first, made(photo(80, 70), cfg_scale=9.0), made(clear.getvalue())}) == 3
    sent = [(said["image"].mode, said["image"].size, said["guidance_scale"]) for said, _ in calls]
    assert sent == [("RGB", (80, 70), scale) for scale in (3.5, 3.5, 9.0, 3.5)]
    assert calls[-1][0]["image"].getpixel((0, 0)) == (255, 255, 255)
    assert not {"negative_prompt", "true_cfg_scale", "strength"} & calls[0][0].keys()


def test_it_makes_images_from_text_and_refuses_a_negative_prompt_without_effect(
    client: Client, engine: DiffusersEngine
) -> None:
    image = client.images.generate("A lake", model=engine.model, size=Size(width=64, height=64), steps=1).image
    assert (image.width, image.height) == (64, 64)
    refused = engine.respond(
        post("/images/generations", model=engine.model, prompt="A lake", size="64x64", negative_prompt="fog")
    )
    assert (refused.status, "negative_prompt" in content(refused)["error"]["message"]) == (400, True)
