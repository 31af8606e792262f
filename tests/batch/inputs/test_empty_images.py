"""A row with an empty `image` makes an image from its prompt alone, which is paid for: that is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from stepfun_async.batch import InputWarning
from tests.batch.shop import Shop

WORDS = r"line 2 has an empty `image`.*operation=\"edit\" in the defaults"


def csv(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("way", ["check_sync", "run_sync"])
def test_the_first_row_of_a_file_without_its_image_is_warned_of(way: str, tmp_path: Path) -> None:
    inputs = csv(tmp_path, "prompt,Image\na lake,\na fox,\n")
    with pytest.warns(InputWarning, match=WORDS) as warned:
        getattr(Shop(tmp_path / "out").batch(inputs), way)()
    assert len(warned) == 1


@pytest.mark.parametrize("image", [None, float("nan"), {"bytes": None, "path": None}])
def test_nothing_in_a_row_in_memory_is_the_same(image: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "a fox"}, {"prompt": "a lake", "image": image}]
    with pytest.warns(InputWarning, match=WORDS):
        Shop(tmp_path).batch(rows).check_sync()


@pytest.mark.parametrize("defaults", [{"operation": "edit"}, {"operation": "text_to_image"}, {"image": "a.png"}])
def test_who_says_what_is_meant_is_not_warned(defaults: dict[str, object], tmp_path: Path) -> None:
    inputs = csv(tmp_path, "prompt,image\na lake,\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = Shop(tmp_path / "out").batch(inputs, defaults=defaults).check_sync()
    assert checked.bad == (defaults != {"operation": "text_to_image"})
