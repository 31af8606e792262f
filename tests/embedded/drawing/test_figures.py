"""The figures: which words call for them, and that each is something to look at."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from PIL import Image as pillow
from PIL import ImageChops

from stepfun_async.embedded.drawing.canvas import Canvas
from stepfun_async.embedded.drawing.figures import Placed, paint
from stepfun_async.embedded.drawing.palettes import PALETTES
from stepfun_async.embedded.drawing.scenes import SCENES
from stepfun_async.embedded.drawing.styles import STYLES
from stepfun_async.embedded.drawing.subjects import FIGURES, place
from stepfun_async.embedded.drawing.words import _entries, called_for, coats, free_colors


@pytest.mark.parametrize("kind", ["subject", "scene", "palette", "style"])
def test_everything_that_can_be_drawn_has_words_in_english_and_chinese_and_no_word_is_for_nothing(kind: str) -> None:
    words = {name: said.split() for of, name, said in _entries() if of == kind}

    assert set(words) == set({"subject": FIGURES, "scene": SCENES, "palette": PALETTES, "style": STYLES}[kind])
    for name, said in words.items():
        assert any(word.isascii() for word in said), name
        assert any(not word.isascii() for word in said), name


PROMPTS = {
    "A red fox": "fox",
    "two foxes": "fox",
    "A British Shorthair": "cat",
    "British-Shorthair kitten": "cat",
    "an old lighthouse, number 3": "lighthouse",
    "a Christmas tree": "christmas tree",
    "a portrait of an old man": "man",
    "headshot, portrait": "woman",
    "The cover of a book: Moby-Dick": "book",
    "hot air balloons": "balloon",
    "雪地里的狐狸": "fox",
    "熊猫": "panda",
    "猫头鹰": "owl",
    "一只英国短毛猫": "cat",
    "金鱼": "fish",
    "火车": "train",
    "冰屋": "igloo",
    "机器人": "robot",
}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_word_calls_for_its_subject_and_a_longer_one_hides_those_inside_it(prompt: str) -> None:
    assert PROMPTS[prompt] in called_for(prompt)["subject"]
    assert set(called_for(prompt)["subject"]) <= {PROMPTS[prompt], "woman"}  # of "portrait"


@pytest.mark.parametrize("prompt", ["a scattered catalogue", "carpet", "旅行海报", "planetary"])
def test_a_word_inside_another_calls_for_nothing(prompt: str) -> None:
    called = called_for(prompt)
    assert called["subject"] == called["scene"] == []


def test_a_colour_before_a_subject_is_the_subjects() -> None:
    assert coats("a black cat and a dog in a blue garden") == {"cat": (24, 24, 30)}
    assert free_colors("a black cat and a dog in a blue garden") == ["blue"]
    assert free_colors("a red poster") == ["red"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_seen_whole_and_its_coat_can_be_chosen(name: str) -> None:
    blank = pillow.new("RGB", (160, 120), (90, 90, 90))
    images = []
    for coat in (None, (10, 200, 30)):
        canvas = Canvas(blank.copy())
        figure = FIGURES[name]
        paint(canvas, PALETTES["day"], figure, Placed(name, 0.5, figure.height, figure.size, coat))
        images.append(canvas.image)

    seen = ImageChops.difference(images[0], blank).convert("L").point([0, *[255] * 255])
    box = seen.getbbox()

    assert box is not None
    assert (box[2] - box[0]) * (box[3] - box[1]) > 0.01 * 160 * 120
    assert box[0] > 0 or name in ("bridge", "waterfall", "rainbow"), "cut off at the side"
    assert ImageChops.difference(*images).getbbox() is not None or name in ("rainbow", "fireworks")


def test_subjects_stand_side_by_side_and_no_more_than_four_are_drawn() -> None:
    placed = place(["cat", "dog", "fox", "owl", "bear"], {}, random.Random(1))
    across = sorted(one.x for one in placed)

    assert len(placed) == 4
    assert all(right - left > 0.1 for left, right in pairwise(across))
