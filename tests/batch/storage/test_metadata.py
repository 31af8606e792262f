"""Pictures that say themselves how they were made: readable by others, without a pixel changed."""

from __future__ import annotations

import io
import json
from typing import Any

import PIL.Image
import PIL.ImageChops
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import Image
from stepfun_async._core.input_images import InputImage, of_bytes
from stepfun_async.batch import Records
from stepfun_async.batch.storage.folder import Folder
from stepfun_async.batch.storage.metadata import KEYWORD, with_metadata
from stepfun_async.batch.storage.store import ImageStore
from tests.support.samples import SAMPLES

from ..shop import Shop

PROMPT = "雪中的红狐、水墨画 — a fox\nin “snow” 🦊"
NOTE = {"seed": 7, "request": {"prompt": PROMPT, "model": "step-image-edit-2", "steps": 8}}


@pytest.fixture
def shop(tmp_path: Any) -> Shop:
    return Shop(tmp_path / "out")


def drawn(mode: str = "RGB", size: tuple[int, int] = (37, 21)) -> PIL.Image.Image:
    return PIL.Image.effect_noise(size, 90).convert(mode)


def encoded(format: str, mode: str = "RGB", **how: Any) -> bytes:
    file = io.BytesIO()
    drawn(mode).save(file, format, **how)
    return file.getvalue()


def opened(data: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(data))
    picture.load()
    return picture


def told(picture: PIL.Image.Image) -> tuple[str, Any]:
    """Prompt and note, as Pillow reads them."""
    text = getattr(picture, "text", None)
    if text:
        return text["Description"], json.loads(text[KEYWORD])
    exif = picture.getexif()
    described, comment = exif[0x010E], exif.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"ASCII\0\0\0"
    return described.encode("latin-1").decode(), json.loads(comment[8:])  # Pillow takes all EXIF texts for Latin-1


FILES = {
    "PNG": ("png", encoded("PNG")),
    "PNG with transparency": ("png", encoded("PNG", "RGBA")),
    "PNG with a palette": ("png", encoded("PNG", "P")),
    "JPEG": ("jpeg", encoded("JPEG")),
    "progressive JPEG": ("jpeg", encoded("JPEG", progressive=True, comment="mine")),
    "JPEG with a byte to fill": ("jpeg", encoded("JPEG").replace(b"\xff\xdb", b"\xff\xff\xdb", 1)),
    "WebP": ("webp", encoded("WEBP")),
    "lossless WebP": ("webp", encoded("WEBP", lossless=True)),
    "WebP with transparency": ("webp", encoded("WEBP", "RGBA")),
    "lossless WebP with transparency": ("webp", encoded("WEBP", "RGBA", lossless=True)),
    "WebP with a colour profile": ("webp", encoded("WEBP", icc_profile=b"profile")),
}


@pytest.mark.parametrize("name", FILES)
def test_others_read_how_a_picture_was_made_and_no_pixel_has_changed(name: str) -> None:
    kind, data = FILES[name]
    written = with_metadata(data, NOTE)
    before, after = opened(data), opened(written)
    assert told(after) == (PROMPT, NOTE)
    assert (after.mode, after.size) == (before.mode, before.size)
    assert after.tobytes() == before.tobytes()
    kept = set(before.info) - {"jfif_density", "jfif_unit"}
    assert {key: after.info.get(key) for key in kept} == {key: before.info[key] for key in kept}
    picture = of_bytes(written)
    assert isinstance(picture, InputImage)
    assert (picture.format, picture.complete, picture.width, picture.height) == (kind, True, *before.size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"unknown",
        encoded("GIF"),
        *(data[:-20] for _, data in FILES.values()),
        FILES["WebP"][1].replace(FILES["WebP"][1][4:8], b"\x04\0\0\0", 1),
        encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
        encoded("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    ],
)
def test_a_file_that_takes_no_metadata_stays_as_it_is(data: bytes) -> None:
    assert with_metadata(data, NOTE) == data


def test_what_a_jpeg_has_no_room_for_is_left_out() -> None:
    note = {"request": {"prompt": "湖" * 20_000}}
    _, jpeg = FILES["JPEG"]
    assert with_metadata(jpeg, note) == jpeg
    assert told(opened(with_metadata(FILES["PNG"][1], note)))[0] == "湖" * 20_000


@given(prompt=st.text(max_size=30))
def test_any_prompt_makes_a_whole_file(prompt: str) -> None:
    for _, data in FILES.values():
        described, note = told(opened(with_metadata(data, {"request": {"prompt": prompt}})))
        assert note == {"request": {"prompt": prompt}}
        assert described == prompt.replace("\0", "")


@given(noise=st.binary(max_size=8), place=st.floats(0, 1), name=st.sampled_from(sorted(FILES)))
def test_no_bytes_are_too_broken(noise: bytes, place: float, name: str) -> None:
    _, data = FILES[name]
    start = int(place * len(data))
    with_metadata(data[:start] + noise + data[start + len(noise) :], NOTE)


def test_half_of_a_character_is_written_in_words() -> None:
    described, note = told(opened(with_metadata(FILES["PNG"][1], {"request": {"prompt": "a\ud800"}})))
    assert (described, note) == ("a\\ud800", {"request": {"prompt": "a\ud800"}})


@pytest.mark.anyio
async def test_a_batch_writes_it_and_the_journal_has_the_file_as_it_is(shop: Shop) -> None:
    lines = [{"prompt": PROMPT, "seed": number} for number in range(3)]
    await shop.batch(lines, metadata=True).run()
    for item in Records(shop.out).items():
        path = shop.out / str(item.path)
        assert item.bytes == path.stat().st_size
        prompt, note = told(opened(path.read_bytes()))
        beside = json.loads(path.with_suffix(".json").read_text())
        assert prompt == PROMPT
        assert note == {key: value for key, value in beside.items() if key != "sha256"}
        assert (note["seed"], beside["sha256"]) == (item.seed, item.sha256)
    assert (await shop.batch(lines, metadata=True, verify=True).run()).skipped == 3
    assert shop.states() == {"done": 3}


def test_a_rescued_picture_gets_it_when_it_is_brought_back(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = ImageStore(Folder(tmp_path / "out"), notes=False, metadata=True)
    fallback = store.save_fallback("cat", "f1", Image(data=FILES["PNG"][1], format="png"))
    saved = store.restore_fallback("cat", fallback.path, NOTE)
    assert saved is not None
    assert told(opened((tmp_path / "out" / saved.path).read_bytes()))[0] == PROMPT


# --- where EXIF values lie ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(12))
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_every_exif_value_begins_at_an_even_place(format: str, length: int) -> None:
    """As TIFF 6.0 asks for."""
    data = with_metadata(encoded(format), {"request": {"prompt": "x" * length}, "seed": 7})
    tiff = data[data.index(b"II*\0") :]
    assert told(opened(data)) == ("x" * length, {"request": {"prompt": "x" * length}, "seed": 7})
    for at in (8, 38):
        for number in range(int.from_bytes(tiff[at : at + 2], "little")):
            entry = tiff[at + 2 + 12 * number : at + 14 + 12 * number]
            assert int.from_bytes(entry[8:], "little") % 2 == 0 or int.from_bytes(entry[4:8], "little") <= 4


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith(("jpeg", "webp"))])
def test_whatever_is_whole_takes_metadata_and_stays_decodable(name: str) -> None:
    noted = with_metadata(SAMPLES[name], NOTE)
    before, after = opened(SAMPLES[name]), opened(noted)
    assert (after.size, after.mode) == (before.size, before.mode)
    assert PIL.ImageChops.difference(after.convert("RGB"), before.convert("RGB")).getbbox() is None
    if not any(word in name for word in ("exif", "thumbnail")):
        assert told(after)[0] == PROMPT
