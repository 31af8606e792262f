"""An image as it is seen: upright, in 8 bits, in sRGB, and in a file that is small enough."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image as pillow
from PIL import ImageChops, ImageOps, ImageStat

from stepfun_async import ImageEdit, ImageToImage
from stepfun_async._core.input_images import InputImage, InvalidImage, load_image
from stepfun_async._core.rendering import as_seen, encoded, on_white
from tests.support import samples
from tests.support.samples import SAMPLES, grey_profile, noise, png, saved, swapped_profile, turned


def opened(data: bytes) -> pillow.Image:
    image = pillow.open(io.BytesIO(data))
    image.load()
    return image


def apart(one: pillow.Image, other: pillow.Image) -> float:
    """The mean difference of two images' levels, 0 to 255."""
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


# --- turning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation: int, format: str) -> None:
    image = opened(saved(noise(), format, exif=turned(orientation)))
    seen = as_seen(image)
    assert apart(seen, ImageOps.exif_transpose(image)) == 0
    assert seen.getexif() == {}
    assert (seen.size != image.size) == (orientation >= 5)


def test_what_was_resized_is_still_turned() -> None:
    image = opened(saved(noise(), "JPEG", exif=turned(6))).resize((20, 10))
    assert as_seen(image).size == (10, 20)


def test_what_was_turned_by_hand_though_its_exif_stayed_is_not_turned_again() -> None:
    exif = turned(6)
    exif.get_ifd(0x8769).update({0xA002: samples.WIDTH, 0xA003: samples.HEIGHT})
    image = opened(saved(noise(), "JPEG", exif=exif))
    assert as_seen(image).size == (samples.HEIGHT, samples.WIDTH)
    by_hand = image.rotate(-90, expand=True)
    assert as_seen(by_hand).size == by_hand.size == (samples.HEIGHT, samples.WIDTH)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0XX", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_turns_nothing_and_breaks_nothing(exif: bytes) -> None:
    plain = saved(noise(), "JPEG")
    data = plain[:2] + samples.segment(0xE1, exif) + plain[2:]
    assert as_seen(opened(data)).size == noise().size
    loaded = load_image(data)
    assert isinstance(loaded, InputImage)
    assert loaded.orientation == 1


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_every_mode_is_seen_and_sent(mode: str) -> None:
    image = _in_mode(mode)
    seen = as_seen(image)
    assert seen.mode == {"1": "L", "L": "L", "La": "LA", "LA": "LA"}.get(mode, "RGBA" if mode[-1] in "Aa" else "RGB")
    assert apart(seen, noise("L") if mode in ("1", "L", "LA", "La", "PA") else noise()) < (120 if mode == "1" else 25)
    assert ImageEdit(image=_in_mode(mode), prompt="x").problems() == ()


def _in_mode(mode: str) -> pillow.Image:
    via = {"La": "LA", "RGBa": "RGBA", "PA": "LA"}.get(mode, "RGB")
    if mode == "LAB":
        from PIL import ImageCms

        transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        result = ImageCms.applyTransform(noise(), transform)
        assert result is not None
        return result
    return noise(via).convert(mode)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_16_bits_become_8_and_none_is_clipped(mode: str) -> None:
    order: Any = "big" if mode == "I;16B" else "little"
    levels = [0, 128, 256, 32768, 65278, 65535]
    image = pillow.frombytes(mode, (6, 1), b"".join(level.to_bytes(2, order) for level in levels))
    assert list(as_seen(image).tobytes()) == [0, 0, 1, 128, 254, 255]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_depth_grows_from_left_to_right(depth: int) -> None:
    seen = as_seen(opened(png(0, depth)))
    row = list(seen.crop((0, 3, seen.width, 4)).tobytes())
    assert row == sorted(row)
    assert row[0] == 0
    assert row[-1] == (72 if depth == 8 else 255 * (2**depth - 1) // 2**depth if depth == 16 else 255) or depth == 16
    assert depth != 16 or 240 < row[-1] < 255


@pytest.mark.parametrize("name", ["png-grey-transparent-level", "png-rgb-transparent-color", "png-palette-transparent"])
def test_a_transparent_colour_is_an_alpha_channel(name: str) -> None:
    seen = as_seen(opened(SAMPLES[name]))
    assert seen.mode == ("LA" if "grey" in name else "RGBA")
    seen = seen.convert("RGBA")
    assert [seen.getpixel((x, 0)) for x in (0, 36)] == [(*_rgb(seen, 0), 0), (*_rgb(seen, 36), 255)]
    assert on_white(seen).getpixel((0, 0)) == (255, 255, 255)


def _rgb(image: pillow.Image, x: int) -> Any:
    pixel: Any = image.getpixel((x, 0))
    return pixel[:3]


@pytest.mark.parametrize(
    ("levels", "seen"), [([0, 40, 255], [0, 40, 255]), ([0, 256, 65535], [0, 1, 255]), ([0, 0, 0], [0, 0, 0])]
)
def test_whole_numbers_are_levels_of_8_or_of_16_bits(levels: list[int], seen: list[int]) -> None:
    image = pillow.new("I", (3, 1))
    image.putdata(levels)
    assert list(as_seen(image).tobytes()) == seen


@pytest.mark.parametrize(("levels", "seen"), [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 40.0, 255.0], [0, 40, 255])])
def test_floats_are_levels_up_to_1_or_up_to_255(levels: list[float], seen: list[int]) -> None:
    image = pillow.new("F", (3, 1))
    image.putdata(levels)
    assert list(as_seen(image).tobytes()) == seen


@pytest.mark.parametrize(("mode", "levels"), [("I", [-1, 5]), ("I", [0, 70_000]), ("F", [-0.5, 1]), ("F", [0, 300])])
def test_levels_that_cannot_be_shown_are_refused_with_the_next_step(mode: str, levels: list[float]) -> None:
    image = pillow.new(mode, (2, 1))
    image.putdata(levels)
    loaded = load_image(image)
    assert isinstance(loaded, InvalidImage)
    assert "scale them to 0 to 255" in loaded.why


def test_the_image_itself_stays_as_it_is() -> None:
    image = noise("RGBA")
    before = image.tobytes()
    as_seen(image, longest=4)
    assert (image.size, image.mode, image.tobytes()) == (noise().size, "RGBA", before)


# --- colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_applied_and_gone(mode: str) -> None:
    image = noise().quantize(64) if mode == "P" else noise(mode)
    seen = as_seen(opened(saved(image, "PNG", icc_profile=swapped_profile())))
    red, green, blue, *_ = image.convert("RGB").split()
    assert apart(seen, pillow.merge("RGB", (green, red, blue))) < 2
    assert seen.info == {}


def test_srgb_is_not_converted_to_itself() -> None:
    seen = as_seen(opened(saved(noise(), "PNG", icc_profile=samples.srgb())))
    assert apart(seen, noise()) == 0
    assert seen.info == {}


def test_a_profile_of_grey_levels_is_applied() -> None:
    seen = as_seen(opened(saved(noise("L"), "JPEG", quality=95, icc_profile=grey_profile())))
    assert (
        ImageStat.Stat(seen.convert("L")).mean[0] > ImageStat.Stat(noise("L")).mean[0] + 20
    )  # linear light is brighter


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize(
    ("profile", "stays"),
    [
        (b"no profile at all" * 9, True),
        (b"\0" * 16 + b"CMYK" + b"\0" * 200, False),
        (b"\0" * 16 + b"GRAY" + b"\0" * 200, False),
        (b"\0" * 16 + b"RGB " + b"\0" * 2**20, False),
    ],
)
def test_a_broken_profile_stays_only_where_it_fits(profile: bytes, stays: bool, mode: str) -> None:
    image = noise(mode)
    image.info["icc_profile"] = profile
    seen = as_seen(image)
    assert ("icc_profile" in seen.info) == (stays and mode in ("RGB", "RGBA"))
    opened(encoded(image, ("png",), None)).load()


# --- files --------------------------------------------------------------------------------------


def rough(side: int = 1000) -> pillow.Image:
    """Noise as a camera makes it, so that a PNG is many times as large as a JPEG."""
    return pillow.merge("RGB", [pillow.effect_noise((side, side), 60) for _ in range(3)])


@pytest.mark.parametrize("sampling", range(3))
def test_what_came_from_a_jpeg_goes_as_a_jpeg_of_its_quality(sampling: int) -> None:
    whole = saved(rough(), "JPEG", quality=80, subsampling=sampling)
    data = encoded(opened(whole), ("png", "jpeg"), None)
    sent = opened(data)
    assert sent.format == "JPEG"
    assert getattr(sent, "quantization") == getattr(opened(whole), "quantization")  # noqa: B009 - of JPEGs alone
    assert len(data) < len(whole) * 1.05
    assert apart(sent, opened(whole)) < (3 if sampling == 0 else 10), "noise in the colours apart"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_of_any_mode_and_orientation_goes_as_a_jpeg(mode: str, orientation: int) -> None:
    image = opened(saved(noise(mode), "JPEG", exif=turned(orientation)))
    sent = opened(encoded(image, ("png", "jpeg"), None))
    assert sent.format == "JPEG"
    assert sent.size == (noise().size if orientation == 1 else noise().size[::-1])


@pytest.mark.parametrize("kind", ["copy", "jpeg is not taken", "transparent"])
def test_everything_else_goes_as_png(kind: str) -> None:
    image = opened(saved(noise(), "JPEG"))
    if kind == "transparent":
        image.putalpha(100)
    data = encoded(image.copy() if kind == "copy" else image, ("png",) if "jpeg" in kind else ("png", "jpeg"), None)
    assert opened(data).format == "PNG"
    assert apart(opened(data), image) == 0


def test_a_png_is_compressed_quickly_and_better_only_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[object] = []
    real = pillow.Image.save

    def noted(self: pillow.Image, *args: Any, **options: Any) -> None:
        levels.append(options.get("compress_level"))
        real(self, *args, **options)

    monkeypatch.setattr(pillow.Image, "save", noted)
    image = noise("RGB", 400, 300)
    quick = encoded(image, ("png",), None)
    small = encoded(image, ("png",), len(quick) - 1)
    assert len(small) < len(quick)
    assert levels == [1, 1, 9]
    encoded(image, ("png",), len(quick) // 2)
    assert levels == [1, 1, 9, 1], "twice too large is not made small by any compression"


def test_what_came_from_webp_goes_as_webp_where_a_png_is_too_large() -> None:
    image = opened(saved(rough(), "WEBP", quality=80))
    assert opened(encoded(image, ("png", "jpeg", "webp"), None)).format == "PNG"
    sent = encoded(image, ("png", "jpeg", "webp"), 2_000_000)
    assert opened(sent).format == "WEBP"
    assert len(sent) < 2_000_000


@pytest.mark.parametrize("mode", ["1", "P", "PA", "LA"])
def test_a_png_of_few_channels_or_colours_stays_about_as_small_as_its_file(mode: str) -> None:
    if mode == "LA":
        image = pillow.merge("LA", (pillow.effect_noise((700, 700), 60), pillow.effect_noise((700, 700), 60)))
    elif mode == "1":
        image = pillow.effect_noise((1500, 1500), 60).convert("1")
    else:
        palette = [level for at in range(256) for level in (at, at * 7 % 256, at * 91 % 256)]
        image = pillow.effect_noise((700, 700), 60)
        image.putpalette(palette)
        if mode == "PA":
            image.info["transparency"] = bytes([0] * 40 + [128] * 80 + [255] * 136)
    whole = saved(image, "PNG", compress_level=1)
    sent = encoded(opened(whole), ("png",), len(whole) + len(whole) // 20)
    assert len(sent) <= len(whole) * 1.05
    assert ImageChops.difference(opened(sent).convert("RGBA"), opened(whole).convert("RGBA")).getbbox() is None


def test_an_image_of_too_many_bytes_is_refused_with_the_next_step() -> None:
    (problem,) = ImageToImage(image=rough(2048), prompt="x", source_weight=0.5).problems()
    assert "bytes: save it as JPEG, quality 95, and give that" in problem.why


@pytest.mark.parametrize("size", [(6000, 400), (400, 6000), (63, 63), (400, 100)])
def test_an_image_is_judged_by_its_size_before_it_is_encoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow.Image, "save", lambda *_, **__: pytest.fail("encoded"))
    monkeypatch.setattr(pillow.Image, "load", lambda *_: pytest.fail("decoded"))
    (problem,) = ImageEdit(image=pillow.new("RGB", size), prompt="x", model="step-1x-edit").problems()
    assert f"{size[0]}x{size[1]} pixels" in problem.why


@pytest.mark.parametrize("error", [SyntaxError("broken PNG file"), OSError("truncated"), MemoryError(), KeyError(3)])
def test_whatever_pillow_raises_of_a_broken_image_is_a_problem(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    image = noise()
    monkeypatch.setattr(pillow.Image, "load", fail)
    (problem,) = ImageEdit(image=image, prompt="x").problems()
    assert "the PIL image cannot be sent" in problem.why


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_an_image_whose_file_is_cut_off_is_refused_even_where_it_has_exif(format: str) -> None:
    whole = saved(rough(200), format, exif=turned(6))
    with pillow.open(io.BytesIO(whole[: len(whole) // 2] + bytes(4))) as image:
        (problem,) = ImageEdit(image=image, prompt="x").problems()
    assert "the PIL image cannot be sent" in problem.why
