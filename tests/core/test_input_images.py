"""Images are known by their bytes: format and sides against Pillow's, and everything that is none."""

from __future__ import annotations

import base64
import io
import os
import random
import struct
import tempfile
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as pillow

from stepfun_async import Image, ImageEdit, ImagesResponse
from stepfun_async._core.headers import CONTENT_TYPES, EXTENSIONS, FORMATS, read_header
from stepfun_async._core.input_images import ImageURL, InputImage, InvalidImage, load_image, of_bytes

SIDES = [(1, 1), (1, 7), (7, 1), (16, 16), (17, 33), (255, 256), (257, 255), (1024, 768), (4097, 3), (3, 16383)]

EXIF = pillow.Exif()
EXIF[0x0112] = 6  # turned by 90 degrees
EXIF[0x010E] = "x" * 20000

VARIANTS: list[Any] = [
    pytest.param("PNG", "RGB", {}, id="png"),
    pytest.param("PNG", "RGBA", {"optimize": True}, id="png-alpha"),
    pytest.param("PNG", "1", {}, id="png-1-bit"),
    pytest.param("PNG", "P", {"exif": EXIF}, id="png-palette-exif"),
    pytest.param("JPEG", "RGB", {}, id="jpeg"),
    pytest.param("JPEG", "L", {}, id="jpeg-gray"),
    pytest.param("JPEG", "CMYK", {}, id="jpeg-cmyk"),
    pytest.param("JPEG", "RGB", {"progressive": True}, id="jpeg-progressive"),
    pytest.param("JPEG", "RGB", {"exif": EXIF}, id="jpeg-exif"),
    pytest.param("JPEG", "RGB", {"comment": b"\xff\xd9" * 100, "restart_marker_blocks": 4}, id="jpeg-comment-restarts"),
    pytest.param("WEBP", "RGB", {}, id="webp-lossy"),
    pytest.param("WEBP", "RGB", {"lossless": True}, id="webp-lossless"),
    pytest.param("WEBP", "RGBA", {}, id="webp-alpha"),
    pytest.param("WEBP", "RGB", {"exif": EXIF}, id="webp-exif"),
    pytest.param("WEBP", "RGB", {"save_all": True, "append_images": 2}, id="webp-animated"),
    pytest.param("GIF", "P", {}, id="gif"),
    pytest.param("GIF", "P", {"save_all": True, "append_images": 2}, id="gif-animated"),
]


def _encode(format: str, mode: str, options: dict[str, Any], width: int = 64, height: int = 48) -> bytes:
    noise = random.Random(0).randbytes(min(width * height, 4096))  # the same every time
    image = pillow.frombytes("L", (width, height), (noise * (width * height // len(noise) + 1))[: width * height])
    image = image.convert(mode)
    more = [image.rotate(180 * turn + 180) for turn in range(options.get("append_images", 0))]
    buffer = io.BytesIO()
    image.save(buffer, format, **{**options, **({"append_images": more} if more else {})})
    return buffer.getvalue()


PNG = _encode("PNG", "RGB", {})


def _why(value: object) -> str:
    loaded = load_image(value)
    assert isinstance(loaded, InvalidImage), loaded
    return loaded.why


def seen(data: bytes) -> tuple[str, int, int, bool] | None:
    """What is seen of an image in memory, which is what is seen of it on disk."""
    loaded = of_bytes(data) if data else InvalidImage("")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        on_disk = load_image(file.name)
    if isinstance(loaded, InvalidImage):
        assert isinstance(on_disk, InvalidImage)
        return None
    assert isinstance(loaded, InputImage)
    assert isinstance(on_disk, InputImage)
    assert replace(on_disk, content=data) == loaded
    return loaded.format, loaded.width, loaded.height, loaded.complete


# --- headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), SIDES)
@pytest.mark.parametrize(("format", "mode", "options"), VARIANTS)
def test_the_header_says_what_pillow_says(
    format: str, mode: str, options: dict[str, Any], width: int, height: int
) -> None:
    data = _encode(format, mode, options, width, height)
    assert seen(data) == (format.lower(), width, height, True)


@pytest.mark.parametrize(("format", "mode", "options"), [variant for variant in VARIANTS if variant.values[0] != "GIF"])
def test_an_image_cut_anywhere_is_never_taken_for_a_whole_one(format: str, mode: str, options: dict[str, Any]) -> None:
    data = _encode(format, mode, options)
    for length in [*range(0, len(data), 97), *range(len(data) - 20, len(data))]:
        loaded = seen(data[:length])
        assert loaded is None or not loaded[-1], length


def test_a_jpeg_cut_after_its_thumbnail_is_not_whole() -> None:
    thumbnail = _encode("JPEG", "L", {}, 8, 8)
    whole = _encode("JPEG", "RGB", {"comment": thumbnail})
    assert seen(whole) == ("jpeg", 64, 48, True)
    assert seen(whole[: whole.index(thumbnail) + len(thumbnail) + 500]) == ("jpeg", 64, 48, False)


@pytest.mark.parametrize("marker", [0xC4, 0xCC, 0xDB, 0xE1, 0xFE])
def test_the_tables_of_a_jpeg_may_stand_before_its_frame(marker: int) -> None:
    whole = _encode("JPEG", "RGB", {})
    segment = bytes([0xFF, marker, 0, 10, 8, 0, 1, 0, 1, 1, 1, 1])
    assert seen(whole[:2] + segment + whole[2:]) == ("jpeg", 64, 48, True)


@pytest.mark.parametrize("marker", [0x01, 0xD0, 0xD7])
def test_a_marker_without_a_length_may_stand_before_the_frame_as_libjpeg_has_it(marker: int) -> None:
    whole = _encode("JPEG", "RGB", {})
    assert seen(whole[:2] + bytes([0xFF, marker]) + whole[2:]) == ("jpeg", 64, 48, True)


def test_stray_bytes_without_an_end_are_not_passed_over_without_end() -> None:
    assert seen(b"\xff\xd8\xff" + b"\xff\x00" * 100_000) is None


@pytest.mark.parametrize(("format", "mode"), [("PNG", "RGB"), ("JPEG", "RGB"), ("WEBP", "RGB")])
def test_bytes_after_the_end_do_no_harm(format: str, mode: str) -> None:
    for length in (100, 10_000, 600_000):
        assert seen(_encode(format, mode, {}) + b"\0" * length) == (format.lower(), 64, 48, True)


@given(
    data=st.binary(max_size=200),
    magic=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF"]),
)
def test_any_bytes_are_a_header_or_none(data: bytes, magic: bytes) -> None:
    header = read_header(magic + data)
    assert header is None or (header.format in FORMATS and (header.width is None) == (header.height is None))


@given(data=st.data())
def test_a_damaged_image_never_raises(data: st.DataObject) -> None:
    variant: Any = data.draw(st.sampled_from([variant.values for variant in VARIANTS]))
    image = bytearray(_encode(variant[0], variant[1], variant[2], 8, 8))
    for _ in range(data.draw(st.integers(1, 5))):
        image[data.draw(st.integers(0, min(60, len(image) - 1)))] = data.draw(st.integers(0, 255))
    assert isinstance(of_bytes(bytes(image)), InputImage | InvalidImage)


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        b"BM" + b"\0" * 40,
        b"\0\0\0\x1cftypisom" + b"\0" * 40,
        b"{}",
        b" " + PNG,
    ],
)
def test_what_is_no_known_image_is_unreadable_and_shows_how_it_begins(data: bytes) -> None:
    assert _why(data) == f"the bytes are not an image: they begin with {data[:12]!r}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html><body>not found</body></html>", "an HTML page"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "an HTML page"),
        (b"%PDF-1.7", "a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "git lfs pull"),
    ],
)
def test_what_is_handed_in_by_mistake_is_named(data: bytes, said: str) -> None:
    assert said in _why(data)


def _head(format: str, width: int, height: int) -> bytes:
    """The beginning of an image of the size given, which needs nothing but its header to be a bomb."""

    def big(number: int, length: int) -> bytes:
        return number.to_bytes(length, "big")

    def little(number: int, length: int) -> bytes:
        return number.to_bytes(length, "little")

    return {
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + big(width, 4) + big(height, 4) + b"\x08\x02" + b"\0" * 70,
        "jpeg": b"\xff\xd8\xff\xc0\0\x11\x08" + big(height, 2) + big(width, 2) + b"\x03" + b"\0" * 80,
        "gif": b"GIF89a" + little(width, 2) + little(height, 2) + b"\0" * 90,
        "webp": b"RIFF\x5c\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + little(width - 1, 3) + little(height - 1, 3) + b"\0" * 70,
    }[format]


@pytest.mark.parametrize("format", ["png", "jpeg", "gif", "webp"])
def test_an_image_bomb_is_refused_from_its_header_alone(format: str) -> None:
    bomb = _head(format, 60000, 60000)
    assert len(bomb) <= 108
    uri = f"data:image/{format};base64,{base64.b64encode(bomb).decode()}"
    for value in (bomb, io.BytesIO(bomb), uri, Image(data=bomb)):
        assert _why(value) == "60000x60000 pixels are more than any model takes, or a decompression bomb"
    assert isinstance(load_image(_head(format, 16384, 16384)), InputImage)
    assert "pixels" in _why(_head(format, 16384, 16385))


def test_an_image_bomb_opened_with_pillow_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    sides = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sides) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", None)  # as users do who work with large images
    with pillow.open(io.BytesIO(bomb)) as image:
        assert "60000x60000 pixels" in _why(image)


def test_every_format_has_a_type_and_an_extension() -> None:
    assert set(CONTENT_TYPES) == set(FORMATS)
    assert set(EXTENSIONS) == {"png", "jpeg", "webp", "gif", "avif", "bmp", "svg"}


# --- ways to hand one in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "name"), [("PNG", "lie.jpg"), ("JPEG", "lie.png"), ("WEBP", "lie.gif"), ("GIF", "lie")]
)
def test_the_name_of_a_file_may_lie(format: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(_encode(format, "L", {}))
    loaded = load_image(path)
    assert isinstance(loaded, InputImage)
    assert loaded.format == format.lower()
    assert loaded.content_type == f"image/{format.lower()}"


def test_names_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "湖 🏔 %20#?.png"
    path.write_bytes(PNG)
    assert isinstance(load_image(str(path)), InputImage)


def test_a_link_in_the_file_system_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("real.png")
    assert isinstance(load_image(tmp_path / "link.png"), InputImage)
    (tmp_path / "broken.png").symlink_to("gone.png")
    assert "No such file" in _why(tmp_path / "broken.png")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert _why(tmp_path / "a.png") == "it is empty (0 bytes)"
    assert _why(b"") == "it is empty (0 bytes)"
    assert _why(io.BytesIO()) == "it is empty (0 bytes)"


class Given:
    """A file object whose `read` gives one thing."""

    def __init__(self, piece: object) -> None:
        self._piece = piece

    def read(self, size: int = -1) -> object:
        return self._piece


class Pixels:
    """An array, as numpy and torch have them."""

    def __array__(self) -> None: ...


def written() -> io.BytesIO:
    """A buffer as it is left by who wrote an image into it."""
    buffer = io.BytesIO()
    buffer.write(PNG)
    return buffer


def looked_at() -> io.BytesIO:
    """A file as it is left by who read its first bytes, as Pillow does for its size."""
    file = io.BytesIO(PNG)
    file.read(41)
    return file


def closed() -> Any:
    with pillow.open(io.BytesIO(PNG)) as image:
        return image


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (written(), "is at its end: call its seek(0)"),
        (looked_at(), "is at byte 41, where no image begins: call its seek(0)"),
        (
            ImagesResponse((), attempts=1, maybe_billed=1),
            "a value of type ImagesResponse is not an image: give its .image",
        ),
        (Given("text"), "gives text: open it in binary mode"),
        (Given(None), "gives a NoneType in place of bytes"),
        (Pixels(), "PIL.Image.fromarray(array)"),
        (closed(), "call its load() before"),
        ("s3://bucket/a.png", "'s3://bucket/a.png' is not fetched here: give the path of a file"),
        ("file:///a/b.png", "'file:///a/b.png' is not fetched here: give the path of a file"),
        ("blob:https://a.test/1", "is not fetched here"),
        (base64.b64encode(PNG).decode(), "is base64 without its head: put 'data:image/png;base64,' before it"),
        (base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(100)).decode(), "is base64 without its head"),
    ],
)
def test_a_likely_slip_is_named_with_the_next_step(value: object, why: str) -> None:
    assert why in _why(value)


def test_a_long_name_is_shown_in_part() -> None:
    assert len(_why("x" * 100_000)) < 2000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert _why(tmp_path / "a.png") == f"cannot read {str(tmp_path / 'a.png')!r}: No such file or directory"


def test_no_text_names_no_file() -> None:
    assert _why("") == "it is empty: give the path of a file"


@pytest.mark.parametrize("name", ["."])
def test_a_directory_is_no_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "directory" in _why(name)
    assert "directory" in _why(tmp_path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "\ud800"])
def test_an_impossible_path_is_unreadable(path: str) -> None:
    assert "cannot read" in _why(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    path.chmod(0)
    assert "Permission denied" in _why(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_named_pipe_is_refused_without_waiting_for_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("opened, which would wait for ever"))
    assert "not a regular file" in _why(tmp_path / "pipe")


def test_a_huge_file_that_is_no_image_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert "not an image" in _why(path)


class _Endless:
    """A file object that gives `head`, and then zeros for ever."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.given = 0

    def read(self, size: int) -> bytes:
        start, self.given = self.given, self.given + size
        return self.head[start : start + size].ljust(size, b"\0")


@pytest.mark.parametrize(
    ("head", "why", "most"),
    [
        (b"", "the bytes are not an image", 2**20),
        (b"II*\0", "the bytes are tiff", 2**20),
        (PNG, "the file object gives more than 10,485,760 bytes", 12 * 2**20),
    ],
)
def test_a_file_object_without_end_is_not_read_without_end(head: bytes, why: str, most: int) -> None:
    endless = _Endless(head)
    (problem,) = ImageEdit(image=cast("Any", endless), prompt="x", model="step-1x-edit").problems()
    assert why in str(problem)
    assert endless.given < most


def test_a_file_object_that_gives_little_at_a_time_is_read_to_its_end() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(1)

    loaded = load_image(Slow(PNG))
    assert isinstance(loaded, InputImage)
    assert loaded.data == PNG


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the device is of POSIX")
def test_a_device_without_end_is_not_read_without_end() -> None:
    with Path("/dev/zero").open("rb") as zero:
        assert "not an image" in _why(zero)
    assert "not a regular file" in _why("/dev/zero")


def test_text_file_objects_are_refused_with_the_right_code(tmp_path: Path) -> None:
    assert "open(path, 'rb')" in _why(io.StringIO("text"))
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open(encoding="latin-1") as file:
        assert "open(path, 'rb')" in _why(file)


def test_a_binary_file_object_is_read_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"head" + PNG)
    with (tmp_path / "a.png").open("rb") as file:
        file.seek(4)
        assert isinstance(load_image(file), InputImage)


def test_a_closed_file_object_is_unreadable(tmp_path: Path) -> None:
    file = io.BytesIO(PNG)
    file.close()
    assert "cannot be read" in _why(file)


def test_an_asynchronous_file_object_is_refused_with_the_right_code() -> None:
    class Upload:
        async def read(self, size: int = -1) -> bytes:
            raise AssertionError("never awaited")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "await file.read()" in _why(Upload())


@pytest.mark.parametrize("image", [pillow.new("RGB", (0, 0)), pillow.new("L", (0, 5))])
def test_a_pil_image_without_pixels_is_unreadable(image: pillow.Image) -> None:
    assert "PIL image" in _why(image)


def test_an_image_of_an_earlier_response() -> None:
    loaded = load_image(Image(data=PNG))
    assert isinstance(loaded, InputImage)
    assert loaded.data == PNG
    assert load_image(Image(url="https://example.com/a.png")) == ImageURL("https://example.com/a.png")
    assert "no image" in _why(Image(finish_reason="content_filtered"))


class _ArrayLike:
    """Has `tobytes`, as numpy's arrays do, and is no image."""

    def tobytes(self) -> bytes:
        return PNG


@pytest.mark.parametrize("value", [5, None, [PNG], {"image": PNG}, object(), Path, io.BytesIO, _ArrayLike()])
def test_anything_else_is_unreadable_and_says_its_type(value: object) -> None:
    assert type(value).__name__ in _why(value)


class _BytesPath:
    def __init__(self, path: bytes) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return self._path


def test_a_path_of_bytes_does_not_raise(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert isinstance(load_image(_BytesPath(os.fsencode(path))), InputImage | InvalidImage)


# --- data URIs and links ----------------------------------------------------------------------------------------


@given(data=st.binary(max_size=50))
def test_data_uris_round_trip(data: bytes) -> None:
    loaded = load_image(InputImage(PNG + data, "png", 64, 48).to_data_uri())
    assert isinstance(loaded, InputImage)
    assert (loaded.data, loaded.format, loaded.width, loaded.height) == (PNG + data, "png", 64, 48)


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "DATA:image/jpeg;BASE64,", "data:;base64,", "data:image/png;charset=x;base64,"]
)
def test_the_type_that_a_data_uri_claims_does_not_matter(head: str) -> None:
    loaded = load_image(head + base64.b64encode(PNG).decode())
    assert isinstance(loaded, InputImage)
    assert loaded.format == "png"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("data:", "not of the form"),
        ("data:image/png,rawbytes", "not an image"),
        ("data:image/svg+xml,%3Csvg%20xmlns='x'/%3E", "the bytes are svg"),
        ("data:image/png;base64", "not of the form"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,iVBO", "not an image"),
        ("data:image/png;base64,iVBOR", "base64 is broken"),
        ("data:image/png;base64,****", "base64 is broken"),
        ("data:image/png;base64,湖", "base64 is broken"),
    ],
)
def test_broken_data_uris(uri: str, why: str) -> None:
    assert why in _why(uri)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a.png", "http://localhost:8000", "HTTPS://EXAMPLE.COM/a?b=c#d", "https://例え.jp/画.png"],
)
def test_http_links_are_links(url: str) -> None:
    assert load_image(url) == ImageURL(url)


@pytest.mark.parametrize(
    "url", ["https://", "http:///a.png", "https://exa mple.com/a.png", "https://?a", "https://a/\nb"]
)
def test_links_without_a_host_are_unreadable(url: str) -> None:
    assert "link" in _why(url)


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://example.com/a b.png", "https://example.com/a%20b.png"),
        ("https://example.com/画 1.png?sig=a%2Fb", "https://example.com/画%201.png?sig=a%2Fb"),
        ("https://example.com/a.png\n", "https://example.com/a.png"),
    ],
)
def test_spaces_in_links_are_said_as_links_say_them(url: str, link: str) -> None:
    assert load_image(url) == load_image(Image(url=url)) == ImageURL(link)


@pytest.mark.parametrize("url", ["ftp://example.com/a.png", "file:///a.png", "s3://bucket/a.png"])
def test_other_links_are_refused_as_such(url: str) -> None:
    assert f"{url!r} is not fetched here" in _why(url)
