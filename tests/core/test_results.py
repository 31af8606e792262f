"""Images and responses: saving atomically, showing themselves, and printing short."""

from __future__ import annotations

import base64
import copy
import dataclasses
import importlib.util
import io
import os
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pillow

from stepfun_async import (
    Account,
    ConfigurationError,
    ContentFilteredError,
    Image,
    ImagesResponse,
    InvalidRequestError,
    MalformedResponseError,
    Model,
    ModelUsage,
    SaveError,
    Usage,
)


def _encode(format: str) -> bytes:
    buffer = io.BytesIO()
    pillow.new("RGB", (8, 6), "red").save(buffer, format)
    return buffer.getvalue()


PNG = _encode("PNG")
IMAGE = Image(data=PNG, format="png", width=8, height=6, seed=5, finish_reason="success")
FILTERED = Image(finish_reason="content_filtered")


# --- saving ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_the_bytes_are_written_as_they_came(kind: Any, tmp_path: Path) -> None:
    assert IMAGE.save(kind(tmp_path / "lake.png")) == tmp_path / "lake.png"
    assert (tmp_path / "lake.png").read_bytes() == PNG


@pytest.mark.parametrize(
    ("name", "format", "written"),
    [
        ("lake", "png", "lake.png"),
        ("lake", "jpeg", "lake.jpg"),
        ("lake", "webp", "lake.webp"),
        ("lake", "gif", "lake.gif"),
        ("lake", None, "lake.bin"),
        ("lake.jpg", "png", "lake.jpg"),
        ("lake.v2", "png", "lake.v2"),
        (".lake", "png", ".lake.png"),
        ("湖", "png", "湖.png"),
    ],
)
def test_a_name_without_extension_gets_that_of_the_real_format(
    name: str, format: str | None, written: str, tmp_path: Path
) -> None:
    assert Image(data=PNG, format=format).save(tmp_path / name) == tmp_path / written
    assert os.listdir(tmp_path) == [written]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a" / "b" / "lake.png")
    assert (tmp_path / "a" / "b" / "lake.png").read_bytes() == PNG


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "lake.png"
    path.write_bytes(b"old")
    for name in ("lake.png", "lake"):
        with pytest.raises(SaveError, match="overwrite=True"):
            IMAGE.save(tmp_path / name)
    assert path.read_bytes() == b"old"
    IMAGE.save(path, overwrite=True)
    assert path.read_bytes() == PNG


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_directory_is_refused(overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out.png").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("out", "out.png", "", ".", "..", "/", "out/", "new/", "new.png/", "new/.", "new/..", Path("out")):
        with pytest.raises(SaveError, match="names a directory; add the name of a file"):
            IMAGE.save(path, overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["out", "out.png"]


def test_the_error_about_a_directory_shows_it_as_given_and_a_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SaveError) as caught:
        IMAGE.save("new/")
    expected = "names a directory; add the name of a file, such as 'new/image.png'; the image is still in image.data"
    assert caught.value.message == f"'new/' is not written: it {expected}"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SaveError, match="is not a directory"):
        IMAGE.save(tmp_path / "file" / "lake.png")


def test_an_impossible_name_is_refused() -> None:
    with pytest.raises(SaveError):
        IMAGE.save("a\0b.png")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        IMAGE.save(tmp_path / "lake.png")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake.png").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        IMAGE.save(tmp_path / "lake.png", overwrite=True)
    assert (tmp_path / "lake.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["lake.png"]


@pytest.mark.parametrize(
    ("image", "why"),
    [(FILTERED, "withheld by the content filter"), (Image(url="https://a.b/c.png"), "client.images.download(image)")],
)
def test_an_image_without_bytes_says_why_and_what_to_do(image: Image, why: str, tmp_path: Path) -> None:
    for act in (lambda: image.save(tmp_path / "a.png"), image.to_pil):
        with pytest.raises(InvalidRequestError) as caught:
            act()
        assert why in str(caught.value)
    assert os.listdir(tmp_path) == []


# --- on disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def on_disk(tmp_path: Path) -> Image:
    (tmp_path / "lake.png").write_bytes(PNG)
    return dataclasses.replace(IMAGE, data=None, path=tmp_path / "lake.png")


def test_an_image_that_was_saved_is_read_from_its_file(on_disk: Image, tmp_path: Path) -> None:
    assert on_disk.to_bytes() == PNG
    assert on_disk.to_pil().size == (8, 6)
    assert on_disk.mimebundle() == {"text/plain": repr(on_disk), "image/png": base64.b64encode(PNG).decode()}
    assert on_disk.save(tmp_path / "copy") == tmp_path / "copy.png"
    assert (tmp_path / "copy.png").read_bytes() == PNG
    assert pickle.loads(pickle.dumps(on_disk)) == on_disk


def test_an_image_is_saved_over_itself(on_disk: Image) -> None:
    assert on_disk.path is not None
    with pytest.raises(SaveError, match=f"the image is still in '{on_disk.path}'"):
        on_disk.save(on_disk.path)
    on_disk.save(on_disk.path, overwrite=True)
    assert on_disk.to_bytes() == PNG


def test_an_image_whose_file_is_gone_says_so(on_disk: Image, tmp_path: Path) -> None:
    assert on_disk.path is not None
    on_disk.path.unlink()
    for act in (on_disk.to_bytes, on_disk.to_pil, lambda: on_disk.save(tmp_path / "copy.png")):
        with pytest.raises(OSError, match="No such file"):
            act()
    assert on_disk.mimebundle() == {"text/plain": repr(on_disk)}, "a notebook shows words then"
    assert os.listdir(tmp_path) == []


# --- other forms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_to_pil(format: str) -> None:
    image = Image(data=_encode(format)).to_pil()
    assert (image.size, image.format) == ((8, 6), format)


def test_to_pil_without_pillow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepfun_async._core.results.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"stepfun-async\[embedded\]"):
        IMAGE.to_pil()
    assert importlib.util.find_spec("PIL") is not None


def test_a_notebook_shows_the_image() -> None:
    bundle = IMAGE._repr_mimebundle_(include=None, exclude=None)
    assert bundle == {"text/plain": repr(IMAGE), "image/png": base64.b64encode(PNG).decode()}
    assert IMAGE.mimebundle() == bundle


@pytest.mark.parametrize("image", [FILTERED, Image(url="https://a.b"), Image(data=b"unknown")])
def test_a_notebook_shows_words_where_there_is_no_image(image: Image) -> None:
    assert image._repr_mimebundle_() == {"text/plain": repr(image)}


def test_a_notebook_shows_a_response_with_its_image_and_ids() -> None:
    response = ImagesResponse((FILTERED, IMAGE), id="r-1")
    bundle = response._repr_mimebundle_(include=None, exclude=None)
    assert bundle == {"text/plain": repr(response), "image/png": base64.b64encode(PNG).decode()}


def test_images_do_not_print_their_bytes() -> None:
    image = Image(data=b"secret" * 10**5, format="png", width=8, height=6)
    assert "secret" not in repr(image)
    assert "width=8" in repr(image)
    assert len(repr(ImagesResponse((image,)))) < 500


@pytest.mark.parametrize(
    "value",
    [
        IMAGE,
        FILTERED,
        ImagesResponse((IMAGE,), created=5, id="r"),
        Model("a"),
        Account("prepaid", 1.0),
        ModelUsage(spent={"USD": Decimal(1)}),
        Usage(by_model={"a": ModelUsage(requests=1)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_results_are_frozen_values_that_pickle(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    with pytest.raises(AttributeError):
        setattr(value, dataclasses.fields(value)[0].name, None)


# --- the one image ------------------------------------------------------------------------------------------


def test_the_one_image() -> None:
    assert ImagesResponse((IMAGE,)).image is IMAGE
    assert ImagesResponse((FILTERED, IMAGE)).image is IMAGE


def test_a_filtered_image_is_no_image() -> None:
    response = ImagesResponse((FILTERED,), trace_id="t", attempts=2, maybe_billed=2)
    with pytest.raises(ContentFilteredError, match="charged") as caught:
        _ = response.image
    error = caught.value
    assert (error.response, error.billing, error.attempts, error.maybe_billed, error.trace_id) == (
        response,
        "executed",
        2,
        2,
        "t",
    )


def test_a_response_without_images_is_malformed() -> None:
    with pytest.raises(MalformedResponseError):
        _ = ImagesResponse(()).image
