"""The same image through every door (path, bytes, file object, data URI, result, PIL) gets the same verdict.

The verdict and the size are compared with Pillow's, over files that the test writes itself.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pillow
from PIL import ImageOps

from stepfun_async import Image, ImageEdit, ImageToImage, TextToImage
from stepfun_async._core.headers import FORMATS
from stepfun_async._core.input_images import InputImage, InvalidImage, load_image
from tests.support.doors import DOORS, pillows_verdict
from tests.support.samples import CUT, FOREIGN, SAMPLES, noise, saved

Door = Callable[[bytes, Path], Any]


@contextmanager
def opened(data: bytes) -> Iterator[pillow.Image]:
    with pillow.open(io.BytesIO(data)) as image:
        yield image


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_pillow_reads_is_taken_with_the_same_size_and_orientation(name: str, door: str, tmp_path: Path) -> None:
    data = SAMPLES[name]
    verdict = pillows_verdict(data)
    assert verdict is not None
    request = ImageEdit(image=DOORS[door](data, tmp_path), prompt="x")
    assert request.problems() == ()
    loaded = request.values()["image"]
    assert isinstance(loaded, InputImage)
    assert (loaded.format, loaded.width, loaded.height, loaded.complete) == (*verdict[:3], True)
    assert loaded.orientation == verdict[3]
    assert loaded.data == data


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_image_opened_with_pillow_is_taken_as_it_is_seen(name: str) -> None:
    with opened(SAMPLES[name]) as image, opened(SAMPLES[name]) as other:
        request = ImageEdit(image=image, prompt="x")
        assert request.problems() == ()
        loaded = request.values()["image"]
        assert isinstance(loaded, InputImage)
        assert loaded.format == ("jpeg" if name.startswith("jpeg") else "png")
        assert loaded.orientation == 1
        assert (loaded.width, loaded.height) == ImageOps.exif_transpose(other).size


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_off_is_said_to_be(name: str, door: str, tmp_path: Path) -> None:
    assert pillows_verdict(CUT[name]) is None
    (problem,) = ImageEdit(image=DOORS[door](CUT[name], tmp_path), prompt="x").problems()
    assert "cut off" in problem.why


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FOREIGN)
def test_a_format_that_no_model_takes_is_named_with_the_next_step(name: str, door: str, tmp_path: Path) -> None:
    kind, data = FOREIGN[name]
    for request in (
        ImageEdit(image=DOORS[door](data, tmp_path), prompt="x"),
        TextToImage(
            prompt="x", model="step-1x-medium", style_reference={"source_url": DOORS[door](data, tmp_path), "weight": 1}
        ),
    ):
        (problem,) = request.problems()
        assert f"the bytes are {kind}" in problem.why
        assert FORMATS[kind].next_step
        assert FORMATS[kind].next_step in problem.why
        assert "not an image" not in problem.why


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "head", [SAMPLES["png-2-8"][:20], SAMPLES["jpeg-large-segments"][:100_000], SAMPLES["webp-lossy"][:20], b"\xff\xd8"]
)
def test_an_image_cut_off_in_its_head_is_said_to_be(head: bytes, door: str, tmp_path: Path) -> None:
    loaded = load_image(DOORS[door](head, tmp_path))
    assert isinstance(loaded, InvalidImage)
    assert "is cut off or broken: its size is missing" in loaded.why


@pytest.mark.parametrize("door", DOORS)
def test_webp_where_only_png_and_jpeg_are_taken_is_refused_with_the_next_step(door: str, tmp_path: Path) -> None:
    image = DOORS[door](SAMPLES["webp-lossy"], tmp_path)
    (problem,) = ImageToImage(image=image, prompt="x", source_weight=0.5).problems()
    assert problem.why == "the bytes are webp: convert it, or give Image.open(path)"
    with opened(SAMPLES["webp-lossy"]) as opened_image:
        assert ImageToImage(image=opened_image, prompt="x", source_weight=0.5).problems() == ()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("extra", "allowed"), [(0, True), (1, False)])
def test_the_row_alone_says_how_many_bytes_are_allowed(door: str, extra: int, allowed: bool, tmp_path: Path) -> None:
    whole = saved(noise("RGB", 64, 64), "PNG")
    data = whole.ljust(10 * 1024 * 1024 + extra, b"\0")
    problems = ImageEdit(image=DOORS[door](data, tmp_path), prompt="x", model="step-1x-edit").problems()
    assert (problems == ()) == allowed
    assert allowed or "bytes" in problems[0].why
    assert ImageEdit(image=DOORS[door](data, tmp_path), prompt="x").problems() == ()


@pytest.mark.parametrize("door", DOORS)
def test_more_than_64_mebibytes_are_taken_where_the_row_allows_them(door: str, tmp_path: Path) -> None:
    data = SAMPLES["png-2-8"].ljust(65 * 1024 * 1024, b"\0")
    assert ImageEdit(image=DOORS[door](data, tmp_path), prompt="x").problems() == ()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["jpeg-exif-6", "png-exif-before", "png-exif-after", "webp-exif-3"])
def test_an_image_that_exif_turns_is_warned_of(name: str, door: str, tmp_path: Path) -> None:
    request = ImageEdit(image=DOORS[door](SAMPLES[name], tmp_path), prompt="x")
    (notice,) = request.notices()
    turn = "180 degrees (orientation 3)" if name.endswith("3") else "90 degrees to the right (orientation 6)"
    assert f"turned by {turn}" in notice
    assert "Image.open(path)" in notice
    with opened(SAMPLES[name]) as image:
        assert ImageEdit(image=image, prompt="x").notices() == ()


def test_a_style_that_exif_turns_is_warned_of() -> None:
    style = {"source_url": SAMPLES["jpeg-exif-8"], "weight": 1}
    (notice,) = TextToImage(prompt="x", model="step-1x-medium", style_reference=style).notices()
    assert notice.startswith("style_reference.source_url: by its metadata")


WRITINGS: dict[str, Callable[[bytes], str]] = {
    "standard": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "url-safe": lambda data: "data:image/png;base64," + base64.urlsafe_b64encode(data).decode(),
    "without padding": lambda data: "data:image/png;base64," + base64.b64encode(data).decode().rstrip("="),
    "padded too much": lambda data: "data:image/png;base64," + base64.b64encode(data).decode() + "==",
    "in lines": lambda data: "data:image/png;base64,\n" + base64.encodebytes(data).decode(),
    "in capitals": lambda data: "DATA:IMAGE/PNG;BASE64," + base64.b64encode(data).decode(),
    "percent-encoded": lambda data: "data:image/png;base64," + base64.b64encode(data).decode().replace("+", "%2B"),
    "with parameters": lambda data: "data:image/png;charset=utf-8;base64," + base64.b64encode(data).decode(),
    "spaced": lambda data: "data:image/png; base64 , " + base64.b64encode(data).decode(),
    "after spaces": lambda data: "  data:image/png;base64," + base64.b64encode(data).decode() + " ",
    "without a type": lambda data: "data:;base64," + base64.b64encode(data).decode(),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("length", range(3))
def test_a_data_uri_is_read_in_every_writing(writing: str, length: int) -> None:
    data = SAMPLES["png-6-8"] + b"\xff\xfe\xfb"[:length]
    loaded = load_image(WRITINGS[writing](data))
    assert isinstance(loaded, InputImage)
    assert loaded.data == data


def test_a_result_that_was_saved_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(SAMPLES["png-2-8"])
    loaded = load_image(Image(path=path))
    assert isinstance(loaded, InputImage)
    assert (loaded.width, loaded.height) == (37, 21)


def test_a_result_whose_link_is_a_data_uri_is_read_from_it() -> None:
    loaded = load_image(Image(url="DATA:image/png;base64," + base64.b64encode(SAMPLES["png-2-8"]).decode()))
    assert isinstance(loaded, InputImage)
    assert loaded.data == SAMPLES["png-2-8"]


def test_the_smallest_webp_is_whole() -> None:
    assert len(SAMPLES["webp-tiny"]) == 28
    assert load_image(SAMPLES["webp-tiny"]) == InputImage(SAMPLES["webp-tiny"], "webp", 37, 21)
