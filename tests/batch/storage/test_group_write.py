"""A group of images is written together: all durable at its end, and what fails for one concerns no other."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import Image
from stepfun_async._runtime.workers import Threads
from stepfun_async.batch.storage import group_write
from stepfun_async.batch.storage.folder import Folder
from stepfun_async.batch.storage.group_write import FileWrite
from stepfun_async.batch.storage.store import ImageStore, NewImage

IMAGE = Image(data=b"\x89PNG of no size", format="png", width=1, height=1, seed=7)


@pytest.fixture(params=["in this thread", "with helpers"])
def store(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setattr(group_write, "_FAST_SECONDS", -1.0 if request.param == "with helpers" else 60.0)
    return ImageStore(Folder(tmp_path / "out"), notes=True)


def images(*stems: str) -> list[NewImage]:
    return [NewImage(stem, IMAGE, {"id": stem}) for stem in stems]


def failing(error: BaseException, *names: str) -> Callable[..., Any]:
    """A step that fails for the images whose paths have one of `names` in them."""

    def step(write: FileWrite, original: Callable[[FileWrite], None]) -> None:
        if any(name in write._path for name in names):
            raise error
        original(write)

    return step


def test_each_image_is_flushed_then_named_then_its_folder_is_flushed(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []
    flush, name, sync = FileWrite.flush, FileWrite.rename, group_write.sync_folder

    def flushed(write: FileWrite) -> None:
        flush(write)
        steps.append(("flushed", write._path))

    def named(write: FileWrite) -> None:
        steps.append(("named", write._path))
        name(write)

    def synced(folder: str) -> None:
        sync(folder)
        steps.append(("synced", folder))

    monkeypatch.setattr(FileWrite, "flush", flushed)
    monkeypatch.setattr(FileWrite, "rename", named)
    monkeypatch.setattr(group_write, "sync_folder", synced)
    stems = [f"{number % 5}/{number}" for number in range(20)]
    saved = store.put_all(images(*stems))
    assert [each.path for each in saved if not isinstance(each, BaseException)] == [f"{stem}.png" for stem in stems]
    out = str(tmp_path / "out")
    for stem in stems:
        path = f"{out}/{stem}.png"
        assert steps.index(("flushed", path)) < steps.index(("named", path))
        assert steps[::-1].index(("synced", os.path.dirname(path))) < steps[::-1].index(("named", path))
    assert ("synced", out) in steps  # where the folders were made
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == sorted(
        f"{number}{ending}" for number in range(20) for ending in (".png", ".json")
    )


@pytest.mark.parametrize("step", ["write", "flush", "rename"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_fails_for_one_image_concerns_no_other_and_leaves_nothing_half_written(
    step: str, error: BaseException, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, fail = getattr(FileWrite, step), failing(error, "a/2", "b/1")
    monkeypatch.setattr(FileWrite, step, lambda write: fail(write, original))
    stems = [f"{folder}/{number}" for folder in "ab" for number in range(4)]
    saved = store.put_all(images(*stems))
    bad = {stem for stem, each in zip(stems, saved, strict=True) if each is error}
    assert bad == {"a/2", "b/1"}
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert files == {f"{stem}.png" for stem in stems if stem not in bad}
    assert list(tmp_path.rglob("*.part")) == []


def test_a_folder_that_cannot_be_made_or_flushed_fails_for_its_images_alone(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, broken = group_write.sync_folder, OSError(errno.EIO, "Input/output error")

    def synced(folder: str) -> None:
        if folder.endswith("/b"):
            raise broken
        sync(folder)

    monkeypatch.setattr(group_write, "sync_folder", synced)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c").write_text("no folder")
    saved = store.put_all(images("a/1", "b/1", "c/1", "a/2"))
    assert [type(each).__name__ for each in saved] == ["StoredImage", "OSError", "NotADirectoryError", "StoredImage"]
    assert saved[1] is broken


def test_a_link_in_the_place_of_a_note_is_replaced_and_not_followed(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "out" / "cat.json").symlink_to(tmp_path / "victim")
    store.put_all(images("cat"))
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "out" / "cat.json").is_symlink()


def test_an_image_whose_name_is_taken_gets_the_next_one(store: ImageStore, tmp_path: Path) -> None:
    """Be it taken by somebody else since a free name was looked for."""
    for _ in range(2):
        store.put_all(images("cat", "dog"))
    saved = store.put_all(images("bird", "cat", "dog"))
    assert [getattr(each, "path", each) for each in saved] == ["bird.png", "cat~3.png", "dog~3.png"]


def test_a_system_that_starts_no_thread_is_done_without(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert len(Threads(1)._all) == 0
    assert all(not isinstance(each, BaseException) for each in store.put_all(images(*map(str, range(9)))))
