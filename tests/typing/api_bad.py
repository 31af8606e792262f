"""Calls that type checkers must refuse: each line that ends in `type: ignore` is an error, and no other.

Never run: `tests/test_typing.py` takes the comments off and gives it to mypy and pyright. With them, it passes as
it is, so that the project as a whole can be checked.
"""

from __future__ import annotations

from stepfun_async import AsyncClient, Client, Size, TextToImage, capabilities

name: str = "step-2x-large"


async def asynchronous(client: AsyncClient) -> None:
    await client.images.generate("a", size=(1024, 1024))  # type: ignore[arg-type]
    await client.images.generate("a", model="step-1x-medium", style_reference={"url": "a"})  # type: ignore[arg-type]
    await client.images.generate("a", response_format="png")  # type: ignore[arg-type]
    await client.images.generate("a", model="step-1x-edit")  # type: ignore[arg-type]
    await client.images.generate("a", model="dall-e-3")  # type: ignore[arg-type]
    await client.images.generate("a", model=name)  # type: ignore[arg-type]
    await client.images.generate("a", seed="1")  # type: ignore[arg-type]
    await client.images.generate("a", steps=8.5)  # type: ignore[arg-type]
    await client.images.generate("a", cfg_scale="2")  # type: ignore[arg-type]
    await client.images.generate("a", size="640x480")  # type: ignore[arg-type]
    await client.images.generate("a", quality="hd")  # type: ignore[call-arg]
    await client.images.generate("a", stpes=8)  # type: ignore[call-arg]
    await client.images.generate("a", source_weight=0.5)  # type: ignore[call-arg]
    await client.images.generate("a", "b")  # type: ignore[arg-type, call-arg]
    await client.images.generate()  # type: ignore[call-arg]
    await client.images.edit("cat.jpg", "a", model="step-1x-edit", size="256x256")  # type: ignore[arg-type]
    await client.images.edit("cat.jpg", "a", model="step-2x-large")  # type: ignore[arg-type]
    await client.images.edit("cat.jpg")  # type: ignore[call-arg]
    await client.images.edit(["cat.jpg"], "a")  # type: ignore[arg-type]
    await client.images.image_to_image("a.png", "a")  # type: ignore[call-arg]
    await client.images.image_to_image("a.png", "a", source_weight="0.5")  # type: ignore[arg-type]
    await client.images.image_to_image("a.png", "a", source_weight=1, text_mode=True)  # type: ignore[call-arg]
    await client.images.image_to_image("a.png", "a", source_weight=1, model="step-1x-edit")  # type: ignore[arg-type]


def synchronous(client: Client) -> None:
    client.images.generate("a", max_retries=2)  # type: ignore[call-arg]
    client.images.generate("a", seed="1")  # type: ignore[arg-type]
    client.images.download(b"", 5)  # type: ignore[arg-type, call-arg]
    client.models.list("x")  # type: ignore[arg-type, call-arg]
    client.images.generate("a", model=name)  # type: ignore[arg-type]
    client.images.image_to_image("a.png", "a")  # type: ignore[call-arg]


def clients() -> None:
    Client(max_retries=2)  # type: ignore[call-arg]
    AsyncClient(organization="a")  # type: ignore[call-arg]


def values() -> None:
    Size(1360, 768)  # type: ignore[call-arg]
    Size(width="1360", height=768)  # type: ignore[arg-type]
    TextToImage(prompt=5)  # type: ignore[arg-type]
    TextToImage(response_format="png")  # type: ignore[arg-type]
    TextToImage().price("europe")  # type: ignore[arg-type]
    capabilities("step-2x-large", "generate")  # type: ignore[call-overload]
