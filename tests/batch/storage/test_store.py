"""Pictures are whole and durable in the folder, or not there."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from stepfun_async import Image, TextToImage
from stepfun_async._core.responses import image_facts
from stepfun_async.batch.storage.folder import Folder
from stepfun_async.batch.storage.store import ImageStore
from stepfun_async.embedded.drawing.plain import draw
from tests.support.samples import FOREIGN

PNG = draw({"prompt": "a lake"}, TextToImage().row, 1)  # type: ignore[arg-type]
IMAGE = Image(data=PNG, format="png", width=1024, height=1024, seed=7, finish_reason="success")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(Folder(tmp_path), notes=True)


def test_a_picture_is_found_again_with_its_note(store: ImageStore, tmp_path: Path) -> None:
    saved = store.put("ab/cat", IMAGE, {"fingerprint": "ab"})
    assert saved.path == "ab/cat.png"
    assert (tmp_path / saved.path).read_bytes() == PNG
    assert store.find("ab/cat") == saved
    note = json.loads((tmp_path / "ab/cat.json").read_text())
    assert (note["seed"], note["finish_reason"], note["fingerprint"]) == (7, "success", "ab")
    assert list(store.digests([saved.path, "ab/dog.png"])) == [saved.sha256, None]
    assert saved.sha256 == note["sha256"]


def test_no_file_is_ever_replaced(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("somebody's cat")
    assert store.put("cat", IMAGE, {}).path == "cat~2.png"
    assert store.put("cat", IMAGE, {}).path == "cat~3.png"
    assert (tmp_path / "cat.png").read_text() == "somebody's cat"
    assert store.free_stem("cat") == "cat~4"
    assert store.free_stem("dog") == "dog"


@pytest.mark.parametrize("answers", [None, False])
def test_a_link_to_nowhere_takes_a_name_whatever_the_system_answers(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool | None
) -> None:
    if answers is not None:  # as in a container that refuses to look for files without their facts
        monkeypatch.setattr("stepfun_async.batch.storage.folder._ACCESS_WORKS", answers)
    (tmp_path / "cat.png").symlink_to("nowhere")
    assert store.existing(["cat", "dog"]) == {"cat"}


def test_half_a_picture_is_none(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG[:-20])
    assert store.find("cat") is None
    assert store.find("dog") is None


def test_a_picture_that_is_not_as_its_note_has_it_is_none(store: ImageStore, tmp_path: Path) -> None:
    store.put("cat", IMAGE, {"fingerprint": "ab"})
    (tmp_path / "cat.png").write_bytes(PNG[:-1] + b"x")
    assert store.find("cat") is None
    (tmp_path / "cat.json").write_text("{")
    found = store.find("cat")
    assert found is not None
    assert found.note == {}


@pytest.mark.parametrize("ending", [".bin", ".avif", ".svg"])
def test_a_file_of_no_format_that_can_be_judged_is_a_picture_by_its_note_alone(
    ending: str, store: ImageStore, tmp_path: Path
) -> None:
    data = {".bin": b"\0\1 of no known format", ".avif": FOREIGN["avif"][1], ".svg": FOREIGN["svg"][1]}[ending]
    saved = store.put("cat", Image(**image_facts(data)), {"fingerprint": "f"})
    assert saved.path == f"cat{ending}"
    assert store.find("cat") == saved
    (tmp_path / "cat.json").unlink()
    assert store.find("cat") is None


def test_what_a_killed_process_left_half_written_is_swept(store: ImageStore, tmp_path: Path) -> None:
    for name in (".cat.png.0123456789ab.part", ".cat.json.0123456789ab.part", ".dog.png.0123456789ab.part"):
        (tmp_path / name).touch()
    store.remove_leftovers("cat")
    store.remove_leftovers("missing/cat")
    assert [path.name for path in tmp_path.iterdir()] == [".dog.png.0123456789ab.part"]


def test_notes_can_be_left_out(tmp_path: Path) -> None:
    saved = ImageStore(Folder(tmp_path), notes=False).put("cat", IMAGE, {"fingerprint": "ab"})
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]
    found = ImageStore(Folder(tmp_path), notes=False).find("cat")
    assert found is not None
    assert found.sha256 == saved.sha256


def test_a_picture_that_the_folder_does_not_take_is_rescued_and_brought_back(store: ImageStore, tmp_path: Path) -> None:
    fallback = store.save_fallback("ab/cat", "f1", IMAGE)
    assert Path(fallback.path).read_bytes() == PNG
    saved = store.restore_fallback("ab/cat", fallback.path, {"seed": 7})
    assert saved is not None
    assert saved.path == "ab/cat.png"
    assert saved.note["seed"] == 7
    assert Path(fallback.path).read_bytes() == PNG  # until the journal knows
    Path(fallback.path).unlink()
    assert store.restore_fallback("ab/cat", fallback.path, {}) is None


def test_a_rescued_picture_that_was_written_after_all_is_not_written_twice(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    written = store.put("ab/cat", IMAGE, {"fingerprint": "f1"})
    fallback = store.save_fallback("ab/cat", "f1", IMAGE)
    assert store.restore_fallback("ab/cat", fallback.path, {"fingerprint": "f1"}) == written
    other = store.restore_fallback("ab/cat", fallback.path, {"fingerprint": "f2"})
    assert other is not None
    assert other.path == "ab/cat~2.png"


def test_a_second_picture_that_is_rescued_leaves_the_first_one(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second, other = (store.save_fallback("ab/cat", name, IMAGE) for name in ("f1", "f1", "f2"))
    assert len({first.path, second.path, other.path}) == 3
    assert all(Path(saved.path).read_bytes() == PNG for saved in (first, second, other))
    assert store.find_fallback("ab/cat", "f1") == first.path


def test_half_a_rescued_picture_is_not_left(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save_fallback("ab/cat", "f1", IMAGE)
    assert store.find_fallback("ab/cat", "f1") is None
    assert list(tmp_path.iterdir()) == []


def test_a_name_may_have_dots_and_marks_of_patterns(store: ImageStore) -> None:
    assert store.put("v1.2/a[b]*.c", IMAGE, {}).path == "v1.2/a[b]*.c.png"
    store.remove_leftovers("v1.2/a[b]*.c")
    assert store.find("v1.2/a[b]*.c") is not None
