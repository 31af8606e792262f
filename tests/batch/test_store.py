"""Pictures are whole and durable in the folder, or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepfun_async import Image, TextToImage
from stepfun_async.batch.store import FileStore
from stepfun_async.embedded.plain import draw

PNG = draw({"prompt": "a lake"}, TextToImage().row, 1)  # type: ignore[arg-type]
IMAGE = Image(data=PNG, format="png", width=1024, height=1024, seed=7, finish_reason="success")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path, notes=True)


def test_a_picture_is_found_again_with_its_note(store: FileStore, tmp_path: Path) -> None:
    saved = store.put("ab/cat", IMAGE, {"fingerprint": "ab"})
    assert saved.path == "ab/cat.png"
    assert (tmp_path / saved.path).read_bytes() == PNG
    assert store.find("ab/cat") == saved
    note = json.loads((tmp_path / "ab/cat.json").read_text())
    assert (note["seed"], note["finish_reason"], note["fingerprint"]) == (7, "success", "ab")
    assert store.digest(saved.path) == saved.sha256 == note["sha256"]


def test_no_file_is_ever_replaced(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_text("somebody's cat")
    assert store.put("cat", IMAGE, {}).path == "cat~2.png"
    assert store.put("cat", IMAGE, {}).path == "cat~3.png"
    assert (tmp_path / "cat.png").read_text() == "somebody's cat"
    assert store.free_stem("cat") == "cat~4"
    assert store.free_stem("dog") == "dog"


def test_half_a_picture_is_none(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG[:-20])
    assert store.find("cat") is None
    assert store.find("dog") is None


def test_a_picture_that_is_not_as_its_note_has_it_is_none(store: FileStore, tmp_path: Path) -> None:
    store.put("cat", IMAGE, {"fingerprint": "ab"})
    (tmp_path / "cat.png").write_bytes(PNG[:-1] + b"x")
    assert store.find("cat") is None
    (tmp_path / "cat.json").write_text("{")
    found = store.find("cat")
    assert found is not None
    assert found.note == {}


def test_what_a_killed_process_left_half_written_is_swept(store: FileStore, tmp_path: Path) -> None:
    for name in (".cat.png.0123456789ab.part", ".cat.json.0123456789ab.part", ".dog.png.0123456789ab.part"):
        (tmp_path / name).touch()
    store.sweep("cat")
    store.sweep("missing/cat")
    assert [path.name for path in tmp_path.iterdir()] == [".dog.png.0123456789ab.part"]


def test_notes_can_be_left_out(tmp_path: Path) -> None:
    saved = FileStore(tmp_path, notes=False).put("cat", IMAGE, {"fingerprint": "ab"})
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]
    found = FileStore(tmp_path, notes=False).find("cat")
    assert found is not None
    assert found.sha256 == saved.sha256


def test_a_picture_that_the_folder_does_not_take_is_rescued_and_brought_back(store: FileStore, tmp_path: Path) -> None:
    rescued = store.rescue("ab/cat", IMAGE)
    assert Path(rescued.path).read_bytes() == PNG
    saved = store.fetch_back("ab/cat", rescued.path, {"seed": 7})
    assert saved is not None
    assert saved.path == "ab/cat.png"
    assert saved.note["seed"] == 7
    assert not Path(rescued.path).exists()
    assert store.fetch_back("ab/cat", rescued.path, {}) is None


def test_a_name_may_have_dots_and_marks_of_patterns(store: FileStore) -> None:
    assert store.put("v1.2/a[b]*.c", IMAGE, {}).path == "v1.2/a[b]*.c.png"
    store.sweep("v1.2/a[b]*.c")
    assert store.find("v1.2/a[b]*.c") is not None
