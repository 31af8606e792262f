"""What the images are: their size, what they depend on, what they resemble, what they say of themselves."""

from __future__ import annotations

import pytest
from PIL import Image as pillow
from PIL import ImageChops, ImageStat

from stepfun_async._core.registry import rows
from stepfun_async._core.rendering import as_seen, on_white
from stepfun_async._core.requests import ImageEdit, ImageToImage, TextToImage
from stepfun_async._core.sizes import Size
from stepfun_async.embedded import Engine
from stepfun_async.embedded.drawing.lettering import text_of
from tests.support import samples

from ..asking import decoded, photo, png

SMALL = {"model": "step-2x-large", "size": "256x256"}
ENGINE = Engine(credit=1e6)


def made(**fields: object) -> pillow.Image:
    values = {"prompt": "a lake at sunset", "seed": 5, **SMALL, **fields}
    return decoded(png(ENGINE, TextToImage(**values)))  # type: ignore[arg-type]


def apart(one: pillow.Image, other: pillow.Image) -> float:
    """How far two images of one size lie apart: the mean over pixels and channels, 0 to 255."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(difference).mean) / 3


# --- size


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
def test_every_size_comes_out_exactly(model: str, size: Size) -> None:
    assert made(model=model, size=size).size == (size.width, size.height)


def test_the_wire_size_of_step_image_edit_2_is_height_by_width() -> None:
    assert made(model="step-image-edit-2", size="768x1360").size == (1360, 768)
    assert made(model="step-2x-large", size="1280x800").size == (1280, 800)


@pytest.mark.parametrize("sides", [(96, 64), (64, 200), (1, 7), (333, 100)])
def test_an_edit_of_step_image_edit_2_has_the_size_of_what_was_sent(sides: tuple[int, int]) -> None:
    assert decoded(png(ENGINE, ImageEdit(image=photo(*sides), prompt="a cat in the snow"))).size == sides


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("plain", [False, True])
def test_an_edit_has_the_size_of_what_is_seen(orientation: int, format: str, *, plain: bool) -> None:
    image = samples.saved(samples.noise("RGB", 96, 64), format, exif=samples.turned(orientation))
    size = decoded(png(Engine(plain=plain), ImageEdit(image=image, prompt="a cat in the snow", seed=1))).size
    assert size == ((96, 64) if orientation < 5 else (64, 96))


def test_an_edit_of_step_1x_edit_keeps_the_ratio_at_about_the_area() -> None:
    def size_of(width: int, height: int) -> tuple[int, int]:
        request = ImageEdit(model="step-1x-edit", image=photo(width, height), prompt="x", size="512x512")
        return decoded(png(ENGINE, request)).size

    assert size_of(100, 100) == (512, 512)
    width, height = size_of(300, 100)
    assert abs(width / height - 3) < 0.02
    assert abs(width * height / 512**2 - 1) < 0.02


# --- what it depends on


def test_equal_requests_make_equal_bytes() -> None:
    request = TextToImage(prompt="a cat", seed=9, text_mode=True)

    assert png(Engine(), request) == png(Engine(), request)


@pytest.mark.parametrize("prompt", ["a dragon", "a portrait of a woman", "sunset", "森林里的猫"])
def test_prompts_and_seeds_make_images_that_look_different(prompt: str) -> None:
    image = made(prompt="city at night", seed=1)

    assert apart(image, made(prompt=prompt, seed=1)) > 10
    assert apart(made(prompt=prompt, seed=2), made(prompt=prompt, seed=1)) > 1.5


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 9},
        {"cfg_scale": 10.0},
        {"cfg_scale": 5.0, "negative_prompt": "ugly"},
        {"cfg_scale": 5.0, "negative_prompt": "sunset"},
        {"text_mode": True},
    ],
    ids=str,
)
def test_every_parameter_changes_the_image(change: dict[str, object]) -> None:
    base = {"cfg_scale": 5.0} if "negative_prompt" in change else {}
    before = made(model="step-image-edit-2", size="1:1", **base)

    assert apart(before, made(model="step-image-edit-2", size="1:1", **change)) > 0


def test_a_negative_prompt_does_nothing_while_the_guidance_is_1() -> None:
    plain = made(model="step-image-edit-2", size="1:1", cfg_scale=1.0)

    assert apart(plain, made(model="step-image-edit-2", size="1:1", cfg_scale=1.0, negative_prompt="sunset")) == 0


def test_a_style_reference_pulls_the_colours_towards_it() -> None:
    red = pillow.new("RGB", (64, 64), (230, 20, 30))
    images = [
        made(model="step-1x-medium", **({"style_reference": {"source_url": red, "weight": weight}} if weight else {}))
        for weight in (0, 0.5, 2.0)
    ]

    distances = [apart(image, red.resize((256, 256))) for image in images]

    assert distances == sorted(distances, reverse=True)
    assert distances[0] > distances[-1] + 20


def test_words_for_colours_are_followed() -> None:
    red, _, blue = ImageStat.Stat(made(prompt="a red poster").convert("RGB")).mean
    cold_red, _, cold_blue = ImageStat.Stat(made(prompt="a blue poster").convert("RGB")).mean

    assert red > blue
    assert cold_blue > cold_red


# --- text


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('a sign "Open"', "Open"),
        ("a sign 'Open now' here", "Open now"),
        ("it's a dog's life", "it's a dog's life"),
        ("海报「你好」", "你好"),
        ("plain words", "plain words"),
        ('empty ""', 'empty ""'),
    ],
)
def test_the_words_in_quotes_are_written_otherwise_all(prompt: str, text: str) -> None:
    assert text_of(prompt) == text


@pytest.mark.parametrize(
    "prompt", ["x", "W" * 512, "many words " * 46, "你好世界" * 100, 'say "Hello"', " ", "\n\t", "🙂"]
)
@pytest.mark.parametrize("size", ["1024x1024", "1360x768"])
def test_text_is_written_in_the_middle_with_contrast(prompt: str, size: str) -> None:
    fields = {"model": "step-image-edit-2", "prompt": prompt, "size": size}
    plain, written = made(**fields), made(**fields, text_mode=True)

    changed = ImageChops.difference(plain.convert("RGB"), written.convert("RGB")).getbbox()

    if not prompt.strip():
        return
    assert changed is not None
    left, top, right, bottom = changed
    assert left >= 0.02 * plain.width
    assert right <= 0.98 * plain.width
    assert abs((top + bottom) / 2 - plain.height / 2) < plain.height * 0.1
    darkest, brightest = written.crop(changed).convert("L").getextrema()
    assert brightest - darkest > 120  # type: ignore[operator]


# --- edits and blends


def test_an_edit_changes_the_image_and_still_resembles_it() -> None:
    source = photo(256, 256)
    other = decoded(photo(256, 256)).transpose(pillow.Transpose.ROTATE_180)
    edited = decoded(png(ENGINE, ImageEdit(image=source, prompt="make it autumn", seed=1)))

    assert apart(edited, decoded(source)) > 4
    assert apart(edited, decoded(source)) < apart(edited, other)


def test_edits_differ_by_prompt_seed_and_image() -> None:
    source = photo(128, 128)
    requests = [
        ImageEdit(image=source, prompt="autumn", seed=1),
        ImageEdit(image=source, prompt="snow", seed=1),
        ImageEdit(image=source, prompt="autumn", seed=2),
        ImageEdit(image=source, prompt="autumn", seed=1, text_mode=True),
        ImageEdit(image=photo(128, 128, "JPEG"), prompt="autumn", seed=1),
    ]

    assert len({png(ENGINE, request) for request in requests}) == len(requests)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_every_documented_format_is_read(format: str) -> None:
    assert decoded(png(ENGINE, ImageEdit(image=photo(70, 80, format), prompt="x"))).size == (70, 80)


def test_transparency_is_seen_on_white() -> None:
    clear = pillow.new("RGBA", (64, 64), (0, 0, 0, 0))
    edited = decoded(png(ENGINE, ImageEdit(image=clear, prompt="x", seed=1)))

    assert sum(ImageStat.Stat(edited.convert("L")).mean) > 100


def test_a_smaller_source_weight_is_closer_to_the_source() -> None:
    source = photo(256, 256)

    def distance(weight: float) -> float:
        request = ImageToImage(image=source, prompt="boat", source_weight=weight, size="256x256", seed=3)
        return apart(decoded(png(ENGINE, request)), decoded(source))

    distances = [distance(weight) for weight in (0.01, 0.25, 0.5, 0.75, 1.0)]

    assert distances == sorted(distances)
    assert distances[0] < 2


def test_at_weight_one_nothing_of_the_source_is_left() -> None:
    def fresh(source: bytes) -> pillow.Image:
        request = ImageToImage(image=source, prompt="boat", source_weight=1, size="256x256", seed=3)
        return decoded(png(ENGINE, request))

    assert apart(fresh(photo(256, 256)), fresh(photo(64, 90))) == 0


# --- what it says of itself


def test_the_file_says_what_it_is_and_what_it_was_made_from() -> None:
    text = made(prompt="a 湖 at sunset", seed=12).info

    assert "stand-in" in text["Comment"]
    assert "not by a diffusion model" in text["Comment"]
    assert "stepfun-async" in text["Software"]
    assert (text["model"], text["prompt"], text["seed"]) == ("step-2x-large", "a 湖 at sunset", "12")


def test_a_full_size_image_is_of_a_reasonable_weight() -> None:
    data = png(ENGINE, TextToImage(prompt="a forest under the galaxy", seed=1))

    assert 10_000 < len(data) < 1_000_000


# --- images as they are seen


SEEN = {
    "16 bits": samples.png(0, 16),
    "16 bits, RGB": samples.png(2, 16),
    "grey profile": samples.saved(samples.noise("L"), "JPEG", icc_profile=samples.grey_profile()),
    "swapped profile": samples.saved(samples.noise(), "PNG", icc_profile=samples.swapped_profile()),
    "broken profile": samples.saved(samples.noise(), "PNG", icc_profile=b"no profile at all" * 9),
    "broken profile of CMYK": samples.saved(samples.noise("CMYK"), "JPEG", icc_profile=bytes(16) + b"CMYK" + bytes(99)),
    "large profile": samples.saved(samples.noise(), "JPEG", icc_profile=bytes(16) + b"RGB " + bytes(1_100_000)),
    "palette": samples.SAMPLES["png-palette-transparent"],
    "transparent colour": samples.SAMPLES["png-rgb-transparent-color"],
    "turned": samples.SAMPLES["jpeg-exif-6"],
}


@pytest.mark.parametrize("kind", SEEN)
def test_an_edit_resembles_the_image_as_it_is_seen_and_has_no_profile_of_its_own(kind: str) -> None:
    seen = on_white(as_seen(decoded(SEEN[kind])))
    edit = decoded(png(ENGINE, ImageEdit(image=SEEN[kind], prompt="x", seed=1)))
    assert edit.size == seen.size
    assert "icc_profile" not in edit.info
    assert apart(edit.convert("L"), seen.convert("L")) < 90


def test_a_dark_image_of_16_bits_does_not_become_white() -> None:
    edit = decoded(png(ENGINE, ImageEdit(image=samples.png(0, 16), prompt="x", seed=1))).convert("L")
    left, right = (ImageStat.Stat(edit.crop((at, 5, at + 6, 16))).mean[0] for at in (2, 28))
    assert left < right - 30
