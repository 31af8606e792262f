"""Calls that type checkers must refuse: each line that ends in `type: ignore` is an error, and no other.

Never run: `tests/test_typing.py` takes the comments off and gives it to mypy and pyright. With them, it passes as
it is, so that the project as a whole can be checked.
"""

from __future__ import annotations

from stepfun_async import AsyncClient, Client, Size, TextToImage, capabilities

name: str = "step-2x-large"


async def asynchronous(client: AsyncClient) -> None:
    await client.images.generate("a", size="1280x800")  # type: ignore[call-overload]
    await client.images.generate("a", size="16:10")  # type: ignore[call-overload]
    await client.images.generate("a", size=(1024, 1024))  # type: ignore[call-overload]
    await client.images.generate("a", model="step-2x-large", size="768x1360")  # type: ignore[call-overload]
    await client.images.generate("a", model="step-1x-medium", size="16:9")  # type: ignore[call-overload]
    await client.images.generate("a", model="step-2x-large", negative_prompt="b")  # type: ignore[call-overload]
    await client.images.generate("a", model="step-2x-large", text_mode=True)  # type: ignore[call-overload]
    await client.images.generate("a", style_reference={"source_url": "a.png"})  # type: ignore[call-overload]
    await client.images.generate("a", model="step-1x-medium", style_reference={"url": "a"})  # type: ignore[call-overload]
    await client.images.generate("a", response_format="png")  # type: ignore[call-overload]
    await client.images.generate("a", model="step-1x-edit")  # type: ignore[call-overload]
    await client.images.generate("a", model="dall-e-3")  # type: ignore[call-overload]
    await client.images.generate("a", model=name)  # type: ignore[call-overload]
    await client.images.generate("a", seed="1")  # type: ignore[call-overload]
    await client.images.generate("a", steps=8.5)  # type: ignore[call-overload]
    await client.images.generate("a", cfg_scale="2")  # type: ignore[call-overload]
    await client.images.generate("a", n=2)  # type: ignore[call-overload]
    await client.images.generate("a", stpes=8)  # type: ignore[call-overload]
    await client.images.generate("a", source_weight=0.5)  # type: ignore[call-overload]
    await client.images.generate("a", "b")  # type: ignore[call-overload]
    await client.images.generate()  # type: ignore[call-overload]
    await client.images.edit("cat.jpg", "a", size="1024x1024")  # type: ignore[call-overload]
    await client.images.edit("cat.jpg", "a", model="step-1x-edit", size="256x256")  # type: ignore[call-overload]
    await client.images.edit("cat.jpg", "a", model="step-1x-edit", negative_prompt="b")  # type: ignore[call-overload]
    await client.images.edit("cat.jpg", "a", model="step-1x-edit", n=1)  # type: ignore[call-overload]
    await client.images.edit("cat.jpg", "a", model="step-2x-large")  # type: ignore[call-overload]
    await client.images.edit("cat.jpg")  # type: ignore[call-overload]
    await client.images.edit(["cat.jpg"], "a")  # type: ignore[call-overload]
    await client.images.image_to_image("a.png", "a")  # type: ignore[call-overload]
    await client.images.image_to_image("a.png", "a", source_weight="0.5")  # type: ignore[call-overload]
    await client.images.image_to_image("a.png", "a", source_weight=1, text_mode=True)  # type: ignore[call-overload]
    await client.images.image_to_image("a.png", "a", source_weight=1, model="step-1x-edit")  # type: ignore[call-overload]


def synchronous(client: Client) -> None:
    client.images.generate("a", size="1280x800")  # type: ignore[call-overload]
    client.images.generate("a", model="step-2x-large", negative_prompt="b")  # type: ignore[call-overload]
    client.images.generate("a", model=name)  # type: ignore[call-overload]
    client.images.edit("cat.jpg", "a", size="1024x1024")  # type: ignore[call-overload]
    client.images.image_to_image("a.png", "a")  # type: ignore[call-overload]


def values() -> None:
    Size(1360, 768)  # type: ignore[call-arg]
    Size(width="1360", height=768)  # type: ignore[arg-type]
    TextToImage(prompt=5)  # type: ignore[arg-type]
    TextToImage(response_format="png")  # type: ignore[arg-type]
    TextToImage().price("europe")  # type: ignore[arg-type]
    capabilities("step-2x-large", "generate")  # type: ignore[call-overload]
