"""Edits change what they name, and leave the rest alone."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow
from PIL import ImageChops, ImageStat

from stepfun_async._core.requests import ImageEdit, ImageToImage, TextToImage
from stepfun_async.embedded import Engine
from stepfun_async.embedded.drawing.content import Content
from stepfun_async.embedded.drawing.figures import Placed

from ..asking import decoded, png

ENGINE = Engine(credit=1e6)


def drawn(prompt: str) -> bytes:
    return png(ENGINE, TextToImage(prompt=prompt, model="step-2x-large", size="256x256", seed=7))


def edit(image: bytes, prompt: str) -> bytes:
    return png(ENGINE, ImageEdit(image=image, prompt=prompt, seed=2))


def as_photo(image: bytes) -> bytes:
    """The image as if it came from elsewhere: nothing is known of what it contains."""
    buffer = io.BytesIO()
    decoded(image).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def names(image: bytes) -> list[str]:
    return [name for name, *_ in json.loads(decoded(image).info["content"])["figures"]]


def changed(before: bytes, after: bytes) -> tuple[int, int, int, int] | None:
    """The box of all that differs."""
    return ImageChops.difference(decoded(before).convert("RGB"), decoded(after).convert("RGB")).getbbox()


def shares(box: tuple[int, int, int, int] | None) -> tuple[float, float]:
    assert box is not None
    return (box[2] - box[0]) / 256, (box[3] - box[1]) / 256


CAT = drawn("A black cat on a windowsill")
CAT_BOX = changed(CAT, edit(CAT, "Remove the cat"))


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("Turn it into a British Shorthair", ["cat"]),
        ("把它变成英国短毛猫", ["cat"]),
        ("make the cat orange", ["cat"]),
        ("Turn the cat into a fox", ["fox"]),
        ("Replace the cat with a dog", ["dog"]),
        ("Remove the cat", []),
        ("去掉猫", []),
    ],
)
def test_a_subject_is_changed_where_it_is_and_no_second_one_appears(prompt: str, left: list[str]) -> None:
    after = edit(CAT, prompt)

    assert names(after) == left
    across, high = shares(changed(CAT, after))
    assert across < 0.5
    assert high < 0.6


def test_a_british_shorthair_is_blue_grey_exactly_where_the_cat_was() -> None:
    after = edit(CAT, "Turn it into a British Shorthair")

    box = changed(CAT, after)
    assert box is not None
    assert CAT_BOX is not None
    assert (box[0] >= CAT_BOX[0], box[2] <= CAT_BOX[2]) == (True, True)
    before, now = (ImageStat.Stat(decoded(image).convert("L").crop(box)).mean[0] for image in (CAT, after))
    assert now > before + 10


def test_edits_of_edits_find_what_the_first_ones_left() -> None:
    fox = edit(CAT, "Turn the cat into a fox")
    both = edit(fox, "add a butterfly")

    assert names(both) == ["fox", "butterfly"]
    assert names(edit(both, "remove the fox")) == ["butterfly"]
    assert names(edit(edit(both, "Make it night"), "without the butterfly")) == ["fox"]


def test_in_an_image_from_elsewhere_the_middle_takes_the_colour_and_nothing_is_added() -> None:
    photo = as_photo(CAT)
    after = edit(photo, "Turn it into a British Shorthair")

    assert names(after) == []
    box = changed(photo, after)
    assert box is not None
    assert min(box[0], box[1], 256 - box[2], 256 - box[3]) > 20


@pytest.mark.parametrize("prompt", ["add a boat", "a red boat", "加一艘船"])
def test_what_is_added_changes_nothing_around_it(prompt: str) -> None:
    lake = drawn("A lake at sunset")
    after = edit(lake, prompt)

    assert names(after) == ["boat"]
    assert max(shares(changed(lake, after))) < 0.35


def test_what_the_prompt_takes_as_there_is_not_added() -> None:
    assert names(edit(as_photo(CAT), "Make the cat look at the moon")) == []


def test_a_new_background_leaves_the_subject() -> None:
    after = edit(CAT, "Change the background to a beach")

    assert names(after) == ["cat"]
    assert json.loads(decoded(after).info["content"])["scene"] == "waves"
    assert CAT_BOX is not None
    middle = [(CAT_BOX[0] + CAT_BOX[2]) // 2 - 4, CAT_BOX[3] - 40, (CAT_BOX[0] + CAT_BOX[2]) // 2 + 4, CAT_BOX[3] - 30]
    inside = ImageChops.difference(decoded(CAT).crop(tuple(middle)), decoded(after).crop(tuple(middle)))  # type: ignore[arg-type]
    assert max(ImageStat.Stat(inside.convert("L")).mean) < 8


def test_a_pink_sky_leaves_the_ground() -> None:
    lake = drawn("a castle on a hill")
    box = changed(lake, edit(lake, "Make the sky pink"))

    assert box is not None
    assert box[1] == 0
    assert box[3] < 200


@pytest.mark.parametrize("style", ["in oil", "watercolour", "a pencil sketch", "pixel art", "black and white", "复古"])
def test_a_style_changes_everything_and_keeps_it_recognisable(style: str) -> None:
    castle = drawn("a castle on a hill")
    after = edit(castle, style)

    assert max(shares(changed(castle, after))) > 0.9
    blurred = [decoded(image).convert("L").resize((16, 16)) for image in (castle, after)]
    assert sum(ImageStat.Stat(ImageChops.difference(*blurred)).mean) < 75


def test_a_poster_is_on_paper_with_a_title_below() -> None:
    poster = decoded(
        png(ENGINE, TextToImage(prompt="A travel poster of a castle", model="step-2x-large", size="512x512", seed=1))
    )

    paper = poster.getpixel((3, 3))
    assert all(poster.getpixel(spot) == paper for spot in ((508, 3), (3, 508), (508, 508), (256, 3)))
    title = poster.crop((150, 512 - 75, 362, 508)).convert("L").getextrema()
    assert title[1] - title[0] > 120  # type: ignore[operator]
    flat = poster.crop((40, 40, 470, 400)).getcolors(maxcolors=1 << 18)
    assert flat is not None
    assert len(flat) <= 4000, "colours run into one another"


def test_a_poster_says_what_stands_in_quotes_where_text_is_asked_for() -> None:
    def made(text: str) -> pillow.Image:
        fields = {"model": "step-image-edit-2", "size": "1:1", "seed": 1, "text_mode": True}
        return decoded(png(ENGINE, TextToImage(prompt=f'A travel poster of a castle, "{text}"', **fields)))  # type: ignore[arg-type]

    one = made("Visit Bath")
    box = (0, 0, one.width, round(one.height * 0.8))
    assert one.crop((0, box[3], *one.size)).convert("L").getextrema()[0] < 120  # type: ignore[operator]


def test_image_to_image_has_its_subject_in_one_place_whatever_the_weight() -> None:
    lake = drawn("A lake at sunset")
    requests = [
        ImageToImage(image=lake, prompt="a boat", source_weight=weight, size="256x256", seed=3)
        for weight in (0.3, 0.6, 0.85, 1.0)
    ]

    figures = [json.loads(decoded(png(ENGINE, request)).info["content"])["figures"] for request in requests]

    assert [len(found) for found in figures] == [1, 1, 1, 1]
    assert figures.count(figures[0]) == len(figures)


# --- what the metadata say


def test_content_goes_through_its_text() -> None:
    content = Content((Placed("cat", 0.25, 0.93, 0.34, (1, 2, 3)), Placed("boat", 0.5, 0.72, 0.16)), "lake")

    assert Content.from_text(content.to_text()) == content


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["cat", "lake"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["scene", "figures", "x"]), inner),
    max_leaves=12,
)


@given(
    st.one_of(st.text(), _ANY.map(json.dumps), st.lists(_ANY).map(lambda x: json.dumps({"scene": "", "figures": x})))
)
def test_any_metadata_is_content_that_can_be_drawn(text: str) -> None:
    for placed in Content.from_text(text).figures:
        assert 0 <= placed.x <= 1
        assert 0 < placed.size <= 2


def test_metadata_that_the_engine_did_not_write_is_passed_over() -> None:
    good = ["cat", 0.5, 0.9, 0.3, None]
    odd: list[object] = [
        ["wyvern", 0.5, 0.9, 0.3, None],
        ["cat", float("nan"), 0.9, 0.3, None],
        ["cat", 0.5, 0.9, 1e9, None],
        5,
    ]

    assert Content.from_text(json.dumps({"scene": "moon", "figures": [*odd, good]})) == Content(
        (Placed("cat", 0.5, 0.9, 0.3),)
    )
    assert Content.from_text("[" * 4000) == Content.from_text("x" * 9999) == Content.from_text(None) == Content()
