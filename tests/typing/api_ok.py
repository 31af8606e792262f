"""Calls that type checkers let pass. Never run: `tests/test_typing.py` gives it to mypy and pyright."""

from __future__ import annotations

import io
from pathlib import Path
from typing import assert_type

from stepfun_async import (
    AsyncClient,
    Capability,
    Client,
    CustomModel,
    CustomSize,
    Image,
    ImageEdit,
    ImagesResponse,
    ImageToImage,
    Limits,
    Money,
    Problem,
    RetryPolicy,
    Size,
    TextToImage,
    capabilities,
    register_model,
    request_type,
)


async def asynchronous() -> None:
    async with AsyncClient(api_key="k", limits=Limits(max_concurrency=2), retry=RetryPolicy(max_attempts=1)) as client:
        assert_type(await client.images.generate("a lake"), ImagesResponse)
        await client.images.generate("a", size=Size(width=1360, height=768), seed=1, steps=8, cfg_scale=2)
        await client.images.generate("a", size="768x1360", negative_prompt="people", text_mode=True, n=1)
        await client.images.generate("a", size="16:9", response_format="url", save_to="a.png", overwrite=True)
        await client.images.generate("a", model="step-image-edit-2", size=None, timeout=5, queue_timeout=0.5)
        await client.images.generate("a", model="step-2x-large", size="1280x800", extra_body={"x": 1})
        await client.images.generate("a", model="step-2x-large", size="16:10", extra_headers={"X-Request-Id": "1"})
        await client.images.generate("a", model="step-1x-medium", style_reference={"source_url": "a.png", "weight": 2})
        assert_type(await client.images.edit("cat.jpg", "a dog"), ImagesResponse)
        await client.images.edit(Path("cat.jpg"), "a", negative_prompt="b", cfg_scale=2.5)
        await client.images.edit(b"bytes", "a", model="step-1x-edit", size="768x768")
        await client.images.edit(io.BytesIO(b""), "a", model="step-1x-edit", size=Size(width=512, height=512))
        assert_type(await client.images.image_to_image("a.png", "a", source_weight=0.5), ImagesResponse)
        await client.images.image_to_image("a.png", "a", source_weight=1, model="step-1x-medium", size="256x256", n=1)
        acme = register_model("acme", like="step-2x-large")
        assert_type(acme, CustomModel)
        await client.images.generate("a", model=acme, size=Size(width=640, height=480), negative_prompt="b", n=4)
        await client.images.edit(b"", "a", model=CustomModel("acme"), size=CustomSize("any"))
        assert_type(Size.parse("16:9"), Size | CustomSize)
        await client.images.generate("a", size=Size.parse((1360, 768)))
        await client.images.edit(b"", "a", model="step-1x-edit", size=CustomSize("512x512"))
        assert_type(request_type("step-1x-edit", "edit"), type[ImageEdit])
        response = await client.images.generate("a")
        assert_type(response.image, Image)
        await client.images.edit(response.image, "a")
        assert_type(response.image.save("a.png"), Path)


def synchronous() -> None:
    with Client(base_url="embedded") as client:
        assert_type(client.images.generate("a", size="16:9"), ImagesResponse)
        assert_type(client.images.edit("cat.jpg", "a", save_to=Path("a.png")), ImagesResponse)
        assert_type(client.images.image_to_image("a.png", "a", source_weight=0.5), ImagesResponse)
        client.images.generate("a", model="step-1x-medium", size="256x256")
        client.images.edit("cat.jpg", "a", model="step-1x-edit", size="1:1")


def values() -> None:
    request = TextToImage(prompt="a", size="16:9", steps=8, response_format="url")
    assert_type(request.problems(), tuple[Problem, ...])
    assert_type(request.price("china"), Money | None)
    assert_type(request.fingerprint(), str)
    ImageEdit(image="cat.jpg", prompt="a", model="any")
    ImageToImage(image=b"", prompt="a", source_weight=0.5)
    assert_type(capabilities(), tuple[Capability, ...])
    assert_type(capabilities("step-2x-large"), tuple[Capability, ...])
    assert_type(capabilities("step-2x-large", "text_to_image"), Capability)
