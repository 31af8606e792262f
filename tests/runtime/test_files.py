"""Reading an image from disk, and writing one atomically."""

from __future__ import annotations

import errno
import os
import random
import secrets
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import Image, SaveError
from stepfun_async._runtime import files as _files
from stepfun_async._runtime.files import (
    CHUNK_SIZE,
    AtomicFile,
    FileChangedError,
    FileSource,
    flush_folder,
    open_input,
    replacing,
    why_not_writable,
    why_of,
    write_bytes,
)

_superuser = not hasattr(os, "geteuid") or os.geteuid() == 0


# --- reading ----------------------------------------------------------------------------------------------------


def source_of(path: Any) -> FileSource:
    with open_input(path) as (view, source):
        assert len(view) == source.size
        return source


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE - 1])
def test_a_regular_file_is_looked_at_and_read_later_as_often_as_asked(size: int, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(size)
    (tmp_path / "a").write_bytes(content)
    for path in (tmp_path / "a", str(tmp_path / "a"), os.fsencode(tmp_path / "a")):
        source = source_of(path)
        assert source.size == size
        for _ in range(2):
            assert source.read() == b"".join(source.pieces()) == content
        assert all(len(piece) <= CHUNK_SIZE for piece in source.pieces())


def test_a_file_is_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    source = source_of("a")
    monkeypatch.chdir("/")
    assert source.read() == b"content"


@given(content=st.binary(max_size=40), start=st.integers(0, 45), stop=st.integers(0, 45), wanted=st.binary(max_size=3))
def test_a_view_of_a_file_is_as_its_bytes(content: bytes, start: int, stop: int, wanted: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patched:
        file.write(content)
        file.flush()
        patched.setattr(_files, "CHUNK_SIZE", 5)
        with open_input(file.name) as (view, _):
            assert view[start:stop] == content[start:stop]
            assert view[:start] == content[:start]
            if wanted:
                assert view.find(wanted, start) == content.find(wanted, start)


def _grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _replaced(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


def _touched(path: Path) -> None:
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(1, 1))


def _changed_and_set_back(path: Path) -> None:
    """As `rsync --inplace -t` and `cp -p` leave it: size and time of the content as they were."""
    facts = path.stat()
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed_and_set_back, "has changed"),
        (Path.unlink, "can no longer be read .No such file or directory."),
        (_grown, "has changed"),
        (_replaced, "has changed"),
        (_touched, "has changed"),
        (lambda path: path.write_bytes(b"cut"), "has changed"),
    ],
)
def test_a_file_that_changes_after_it_was_looked_at_is_not_read(
    change: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    source = source_of(path)
    assert source.is_current()
    change(path)
    assert not source.is_current()
    for read in (source.read, lambda: source.read_piece(0, 0), lambda: list(source.pieces())):
        with pytest.raises(FileChangedError, match=said):
            read()


@pytest.mark.parametrize(
    ("name", "error"), [("gone", FileNotFoundError), ("", IsADirectoryError), ("a\0b", ValueError)]
)
def test_what_cannot_be_read_raises(name: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        source_of(f"{tmp_path}/{name}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_named_pipe_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to, so opening it would wait for ever
    with pytest.raises(ValueError, match="not a regular file"):
        source_of(tmp_path / "pipe")


@pytest.mark.skipif(not Path(os.devnull).is_char_device(), reason="the device is of POSIX")
def test_a_file_that_becomes_a_device_as_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.touch()
    facts = os.stat(path)
    path.unlink()
    path.symlink_to(os.devnull)
    monkeypatch.setattr(os, "stat", lambda _: facts)  # as it was a moment ago
    with pytest.raises(ValueError, match="not a regular file"):
        source_of(path)


def test_bytes_are_found_across_pieces_and_up_to_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(CHUNK_SIZE - 2) + b"mark" + bytes(10))
    with open_input(path) as (view, _):
        assert view.find(b"mark") == CHUNK_SIZE - 2
        assert view.find(b"mark", CHUNK_SIZE - 1) == -1
        assert view.find(b"mark", 0, CHUNK_SIZE + 1) == -1
        assert view.find(b"mark", 0, CHUNK_SIZE + 2) == CHUNK_SIZE - 2


# --- writing ----------------------------------------------------------------------------------------------------


def test_a_file_is_written_in_pieces_and_appears_whole(tmp_path: Path) -> None:
    partial = AtomicFile(tmp_path / "deep" / "a.png")
    partial.remove()
    assert (partial.read(), os.listdir(tmp_path)) == (b"", [])
    partial.append(b"one ")
    partial.append(b"two ")
    assert partial.read() == b"one two "
    partial.append(b"three", last=True)
    assert os.listdir(tmp_path / "deep") == [partial.temporary.name]
    partial.put(tmp_path / "deep" / "a.jpg", overwrite=False)
    partial.remove()
    assert (tmp_path / "deep" / "a.jpg").read_bytes() == b"one two three"
    assert os.listdir(tmp_path / "deep") == ["a.jpg"]


def test_a_piece_that_could_not_be_written_costs_none_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = AtomicFile(tmp_path / "a")
    partial.append(b"one ")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        partial.append(b"half", last=True)
    assert partial.read() == b"one "


@pytest.mark.parametrize(
    "meddle", [Path.unlink, lambda path: (path.unlink(), path.symlink_to(path.with_name("elsewhere")))]
)
def test_a_temporary_file_that_was_removed_is_not_begun_in_the_middle(
    meddle: Callable[[Path], object], tmp_path: Path
) -> None:
    partial = AtomicFile(tmp_path / "a")
    (tmp_path / "elsewhere").write_bytes(b"precious")
    partial.append(b"one ")
    meddle(partial.temporary)
    with pytest.raises(OSError):  # noqa: PT011 - its words are the system's
        partial.append(b"two")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def _full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_new_file_is_written_with_its_folders_and_nothing_else(overwrite: bool, tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b.png", b"content", overwrite=overwrite)
    assert (tmp_path / "a" / "b.png").read_bytes() == b"content"
    assert os.listdir(tmp_path / "a") == ["b.png"]


def test_a_file_that_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "a", b"new", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
    write_bytes(tmp_path / "a", b"new", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_link_to_nowhere_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "link", b"new", overwrite=False)
    assert os.listdir(tmp_path) == ["link"]


@pytest.mark.parametrize("taken", [True, False])
def test_a_file_system_without_hard_links_will_do(taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _no_links)
    if taken:
        (tmp_path / "a").write_bytes(b"old")
        with pytest.raises(FileExistsError):
            write_bytes(tmp_path / "a", b"new", overwrite=False)
    else:
        write_bytes(tmp_path / "a", b"new", overwrite=False)
    assert (tmp_path / "a").read_bytes() == (b"old" if taken else b"new")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("fails", ["fsync", "rename"])
def test_a_failure_leaves_no_file_of_any_name(
    fails: str, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", _full)
    else:
        monkeypatch.setattr(_files, "put_in_place", _full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a", b"new", overwrite=overwrite)
    assert os.listdir(tmp_path) == []


def test_the_content_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int]] = []

    def watch(descriptor: int) -> None:
        seen.append(((tmp_path / "a").exists(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", watch)
    write_bytes(tmp_path / "a", b"content", overwrite=False)
    assert seen == [(False, 7)]


@pytest.mark.parametrize("name", ["a" * 255, "a" * 251 + ".png"])
def test_the_longest_name_can_be_written(name: str, tmp_path: Path) -> None:
    write_bytes(tmp_path / name, b"content", overwrite=False)
    assert os.listdir(tmp_path) == [name]


def test_a_name_of_many_bytes_can_be_written(tmp_path: Path) -> None:
    name = "湖" * 83 + ".png"
    write_bytes(tmp_path / name, b"content", overwrite=False)
    assert os.listdir(tmp_path) == [name]


# --- links in the file system, and who may read -----------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file in another folder, which no write into `pictures` may touch."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "elsewhere" / "victim").write_bytes(b"precious")
    return tmp_path / "elsewhere" / "victim"


def untouched(victim: Path) -> bool:
    return victim.read_bytes() == b"precious" and os.listdir(victim.parent) == ["victim"]


@pytest.mark.parametrize("gone", [True, False], ids=["to nowhere", "to a file"])
def test_overwriting_a_link_replaces_the_link_and_leaves_what_it_leads_to_alone(gone: bool, victim: Path) -> None:
    path = victim.parents[1] / "pictures" / "a.png"
    path.symlink_to(victim.with_name("new") if gone else victim)
    write_bytes(path, b"picture", overwrite=True)
    assert not path.is_symlink()
    assert path.read_bytes() == b"picture"
    assert untouched(victim)


@pytest.mark.parametrize("gone", [True, False], ids=["to nowhere", "to a file"])
def test_an_image_is_saved_over_a_link_not_through_it(gone: bool, victim: Path) -> None:
    path = victim.parents[1] / "pictures" / "a.png"
    path.symlink_to(victim.with_name("new") if gone else victim)
    with pytest.raises(SaveError, match="overwrite=True"):
        Image(data=b"picture").save(path)
    assert path.is_symlink()
    assert Image(data=b"picture").save(path, overwrite=True) == path
    assert not path.is_symlink()
    assert untouched(victim)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("hard_links", [True, False], ids=["hard links", "none"])
def test_a_link_that_appears_while_the_file_is_written_is_not_followed(
    overwrite: bool, hard_links: bool, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = victim.parents[1] / "pictures" / "a.png"
    if not hard_links:
        monkeypatch.setattr(os, "link", _no_links)
    monkeypatch.setattr(os, "fsync", lambda _: path.symlink_to(victim))
    if overwrite:
        write_bytes(path, b"picture", overwrite=True)
        assert path.read_bytes() == b"picture"
    else:
        with pytest.raises(FileExistsError):
            write_bytes(path, b"picture", overwrite=False)
    assert path.is_symlink() != overwrite
    assert os.listdir(path.parent) == ["a.png"]
    assert untouched(victim)


def test_without_hard_links_a_link_to_nowhere_is_a_name_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _no_links)
    (tmp_path / "a").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "a", b"new", overwrite=False)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").is_symlink()


def test_without_hard_links_a_failure_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "link", _no_links)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_bytes(tmp_path / "a", b"new", overwrite=False)
    assert os.listdir(tmp_path) == []


def test_a_link_planted_under_the_temporary_name_is_not_followed(victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = victim.parents[1] / "pictures"
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    (folder / ".a.png.guessed.part").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_bytes(folder / "a.png", b"picture", overwrite=True)
    assert not (folder / "a.png").exists()
    assert untouched(victim)


@pytest.mark.skipif(os.name != "posix", reason="permissions are of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_an_image_may_be_read_by_whom_the_users_umask_lets(
    umask: int, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_way: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: on_the_way.append(stat.S_IMODE(os.fstat(file).st_mode)))
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "a", b"picture", overwrite=False)
        write_bytes(tmp_path / "a", b"picture", overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
    assert on_the_way == [mode, mode], "at no moment does it have more"


def _no_links(source: Any, target: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


# --- what is written while the name keeps its old content ---


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with suppress(LookupError), replacing(path) as file:
        file.write(b"half")
        raise LookupError
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"new", ["a"])


def test_no_link_is_followed_where_a_file_is_replaced(victim: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(victim)
    with replacing(link) as file:
        file.write(b"new")
    assert untouched(victim)
    assert (link.is_symlink(), link.read_bytes()) == (False, b"new")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
@pytest.mark.parametrize("leads_to", [None, "pipe", "/dev/null", "/proc/self/fd/1"])
def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path, leads_to: str | None) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if leads_to:
        path = tmp_path / "link"
        path.symlink_to(leads_to)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileExistsError, match="it is no regular file"), replacing(path) as file:
        file.write(b"new")
    assert (stat.S_ISFIFO(path.lstat().st_mode), path.is_symlink()) == (not leads_to, bool(leads_to))
    assert sorted(os.listdir(tmp_path)) == before


# --- file systems that cannot flush ---


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_flush_is_lived_with(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flush_folder(tmp_path)

    def fsync(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    assert not flush_folder(tmp_path)
    write_bytes(tmp_path / "a", b"content", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"content"


def test_a_disk_that_fails_is_no_file_system_that_cannot_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        flush_folder(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
        write_bytes(tmp_path / "a", b"content", overwrite=False)


# --- whom an error blames ---


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "No space left on device"),
        ("report.html", "No space left on device"),
        (".report.html.0123456789ab.part", "No space left on device"),
        ("report.html/inside", "No space left on device"),
        ("page.css", "'{folder}/page.css': No space left on device"),
        (
            "elsewhere/.report.html.0123456789ab.part",
            "'{folder}/elsewhere/.report.html.0123456789ab.part': No space left on device",
        ),
    ],
)
def test_an_error_about_another_file_names_it(named: str | None, expected: str, tmp_path: Path) -> None:
    about = None if named is None else str(tmp_path / named)
    error = OSError(errno.ENOSPC, "No space left on device", about)
    assert why_of(error, tmp_path / "report.html") == expected.format(folder=tmp_path)


# --- asking first -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new.png", "a/b/c/new.png", "湖.png"])
def test_nothing_speaks_against_a_new_file(name: str, tmp_path: Path) -> None:
    assert why_not_writable(tmp_path / name, overwrite=False) is None
    assert os.listdir(tmp_path) == [], "asking makes nothing"


@pytest.mark.parametrize(
    "name", ["x" * 252 + ".png", "x" * 300 + "/lake.png", "new/" + "x" * 300 + "/lake.png", "湖" * 90]
)
def test_a_name_that_is_too_long_is_known_before_anything_is_paid_for(name: str, tmp_path: Path) -> None:
    why = why_not_writable(tmp_path / name, overwrite=False)
    assert why is not None
    assert "too long" in why or "bytes, and a name in" in why
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_too_long_is_known_where_path_swallows_errors_as_python_3_14_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("is_dir", "exists", "is_file"):
        monkeypatch.setattr(Path, method, lambda self, **_: False)
    assert why_not_writable(tmp_path / ("x" * 300), overwrite=True)
    assert why_not_writable(tmp_path / ("x" * 300) / "lake.png", overwrite=True)
    assert why_not_writable(tmp_path, overwrite=True) == "it is a directory"
    assert why_not_writable(tmp_path / "lake.png", overwrite=True) is None


@pytest.mark.parametrize("limit", [143, None])
def test_the_longest_name_is_what_the_file_system_says(
    limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pathconf(path: Path, name: str) -> int:
        if limit is None:
            raise OSError(errno.EINVAL, "Invalid argument")
        return limit

    monkeypatch.setattr(os, "pathconf", pathconf)
    longest = "x" * (limit or 255)
    assert why_not_writable(tmp_path / longest, overwrite=False) is None
    assert why_not_writable(tmp_path / (longest + "x"), overwrite=False)


def test_what_speaks_against_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert why_not_writable(tmp_path, overwrite=True) == "it is a directory"
    assert "overwrite=True" in str(why_not_writable(tmp_path / "file", overwrite=False))
    assert why_not_writable(tmp_path / "file", overwrite=True) is None
    assert why_not_writable(tmp_path / "file" / "a" / "b", overwrite=True) == f"{tmp_path / 'file'} is not a directory"
    assert why_not_writable(Path("a\0b"), overwrite=False) is not None
    assert why_not_writable(tmp_path / ("a" * 300), overwrite=False) is not None


@pytest.mark.skipif(_superuser, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "may not be written to" in str(why_not_writable(tmp_path / "locked" / "a.png", overwrite=False))


def test_a_folder_that_may_not_be_written_to_is_known_before_anything_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    why = why_not_writable(tmp_path / "new" / "a.png", overwrite=False)
    assert why == f"{tmp_path} cannot be written to: Permission denied"


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    assert why_not_writable(tmp_path / "new" / "a.png", overwrite=False) is None
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_nowhere_is_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert "exists" in (why_not_writable(tmp_path / "a.png", overwrite=False) or "")
