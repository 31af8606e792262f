"""Plain images: as right as drawn ones in everything but what they show."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable

import pytest
from PIL import Image as pillow

from stepfun_async._core.registry import rows
from stepfun_async._core.requests import ImageEdit, ImageRequest, ImageToImage, TextToImage
from stepfun_async._core.sizes import Size
from stepfun_async.embedded import Engine
from stepfun_async.embedded.drawing import plain

from ..asking import content, decoded, photo, png

ENGINE = Engine(plain=True, credit=1e6)
DRAWING = Engine(credit=1e6)


def made(request: ImageRequest) -> pillow.Image:
    return decoded(png(ENGINE, request))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (row.model, size)
        for row in rows()
        if row.operation == "text_to_image" and row.sizes
        for size in row.sizes.options
    ],
    ids=str,
)
def test_every_size_comes_out_exactly_as_an_rgb_png(model: str, size: Size) -> None:
    image = made(TextToImage(prompt="a lake", model=model, size=size))

    assert image.size == (size.width, size.height)
    assert (image.format, image.mode) == ("PNG", "RGB")


@pytest.mark.parametrize(
    "of",
    [
        lambda sent: ImageEdit(image=sent, prompt="a cat"),
        lambda sent: ImageEdit(model="step-1x-edit", image=sent, prompt="a cat", size="512x512"),
        lambda sent: ImageToImage(image=sent, prompt="a cat", source_weight=0.5, size="1280x800"),
    ],
    ids=["edit-2", "1x-edit", "image to image"],
)
@pytest.mark.parametrize("sides", [(65, 65), (333, 127), (64, 180)], ids=str)
def test_what_starts_from_an_image_has_the_size_of_the_drawn_one(
    of: Callable[[bytes], ImageRequest], sides: tuple[int, int]
) -> None:
    request = of(photo(*sides))

    assert made(request).size == decoded(png(DRAWING, request)).size


@pytest.mark.parametrize("sides", [(1, 1), (1, 7)], ids=str)
def test_an_edit_has_the_size_of_even_the_smallest_image(sides: tuple[int, int]) -> None:
    assert made(ImageEdit(image=photo(*sides), prompt="a cat")).size == sides


def test_there_are_two_colours_one_above_the_other() -> None:
    image = made(TextToImage(prompt="a lake", seed=3))

    colours = image.getcolors()
    assert colours is not None
    assert len(colours) == 2
    assert image.getpixel((0, 0)) == image.getpixel((1023, 0)) != image.getpixel((0, 1023))


def test_equal_requests_make_equal_bytes() -> None:
    request = TextToImage(prompt="a cat", seed=9)

    assert png(Engine(plain=True), request) == png(Engine(plain=True), request)


PHOTO, OTHER_PHOTO = photo(40, 30), photo(41, 30)
BASE = {"prompt": "a cat", "seed": 9, "cfg_scale": 2.0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TextToImage(prompt="a cat", seed=9), TextToImage(prompt="a dog", seed=9)),
        (TextToImage(prompt="a cat", seed=9), TextToImage(prompt="a cat", seed=8)),
        (TextToImage(prompt="a cat", seed=9), TextToImage(prompt="a cat", seed=9, steps=9)),
        (TextToImage(prompt="a cat", seed=9), TextToImage(prompt="a cat", seed=9, text_mode=True)),
        (ImageEdit(image=PHOTO, prompt="a cat", seed=9), ImageEdit(image=OTHER_PHOTO, prompt="a cat", seed=9)),
    ],
    ids=["prompt", "seed", "steps", "text_mode", "image"],
)
def test_different_requests_make_different_colours(one: ImageRequest, other: ImageRequest) -> None:
    assert made(one).getpixel((0, 0)) != made(other).getpixel((0, 0))


def test_the_way_it_is_answered_does_not_change_the_image() -> None:
    """The link leads to what base64 would have brought."""
    linked = content(ENGINE.respond(TextToImage(prompt="a", seed=2, response_format="url").to_call()))["data"][0]["url"]
    call = TextToImage(prompt="a", seed=2).to_call()

    assert ENGINE.respond(type(call)("GET", linked)).body == png(ENGINE, TextToImage(prompt="a", seed=2))


@pytest.mark.parametrize("prompt", ["a lake", "森林里的猫", "grüße\nund küsse"])
def test_the_metadata_says_what_the_drawn_images_says(prompt: str) -> None:
    request = TextToImage(prompt=prompt, model="step-2x-large", size="256x256", seed=5)

    drawn = decoded(png(DRAWING, request)).info
    del drawn["content"]  # of the scene
    assert made(request).info == drawn
    assert made(request).info["prompt"] == prompt


@pytest.mark.parametrize("height", [1, 2, 7, 8, 9, 64, 1023])
def test_the_stream_is_what_zlib_itself_unpacks(height: int) -> None:
    rows = ((b"\0abcdef", height), (b"\0uvwxyz", 13), (b"\0", 0))

    assert zlib.decompress(plain._deflated(rows)) == b"\0abcdef" * height + b"\0uvwxyz" * 13


def test_of_an_image_that_was_sent_only_the_header_counts() -> None:
    broken = bytearray(photo(40, 30))
    broken[60:70] = bytes(10)

    assert made(ImageEdit(image=bytes(broken), prompt="a cat")).size == (40, 30)
    assert DRAWING.respond(ImageEdit(image=bytes(broken), prompt="a cat").to_call()).status == 400


def test_an_image_with_too_many_pixels_is_refused_and_not_charged() -> None:
    engine = Engine(plain=True)
    huge = bytearray(photo(40, 30))
    huge[16:24] = (9_000).to_bytes(4, "big") * 2

    response = engine.respond(ImageToImage(image=bytes(huge), prompt="a cat", source_weight=0.5).to_call())

    assert response.status == 400
    assert engine.bill().images == 0


def test_it_needs_no_pillow() -> None:
    code = """
import sys
sys.modules["PIL"] = None
from stepfun_async import Client
from stepfun_async.embedded import Engine, use
with use(Engine(plain=True)), Client(base_url="embedded") as client:
    image = client.images.generate("a lake").image
    client.images.edit(image, "a cat")
    print(image.width, image.height)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1024", "1024"], done.stderr
