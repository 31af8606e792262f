"""`generate`, `edit` and `image-to-image`: what is written, and what is printed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as pillow

from stepfun_async._core.slugs import slug
from stepfun_async._runtime.files import write_bytes
from stepfun_async.cli.filenames import free_stem

from .conftest import Run, start
from .test_processes import PATIENCE


def sides(path: Path | str) -> tuple[int, int]:
    with pillow.open(path) as picture:
        return picture.size


def test_prints_only_the_path_when_piped(cli: Run, folder: Path) -> None:
    ran = cli("generate", "A serene lake", "--seed", "1")
    assert ran == (0, "a-serene-lake.png\n", "")
    assert sides("a-serene-lake.png") == (1024, 1024)


def test_never_overwrites_a_name_it_made(cli: Run, folder: Path) -> None:
    names = [cli("generate", "A lake").out.strip() for _ in range(3)]
    assert names == ["a-lake.png", "a-lake-2.png", "a-lake-3.png"]


def test_variations_have_names_and_seeds_of_their_own(cli: Run, folder: Path) -> None:
    Path("a-lake-2.png").write_bytes(b"mine")
    ran = cli("generate", "A lake", "--variations", "3", "--seed", "5", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [image["path"] for image in found] == ["a-lake.png", "a-lake-3.png", "a-lake-4.png"]
    assert [image["seed"] for image in found] == [5, 6, 7]
    assert [image["price"]["amount"] for image in found] == ["0.003"] * 3
    assert len({Path(image["path"]).read_bytes() for image in found}) == 3
    drawn = cli("edit", "a-lake.png", "Make it night", "--variations", "2", "--out", "night", "--json")
    one, two = [json.loads(line) for line in drawn.out.splitlines()]
    assert (one["path"], two["path"], two["seed"]) == ("night.png", "night-2.png", one["seed"] + 1)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "lake.png"], "--out: got 'lake-2.png' (it exists"),
        (["--seed", str(2**31 - 1)], "--seed: got 2147483648"),
        (["--out", "-"], "--out: got '-' (it takes one image, not 2)"),
    ],
)
def test_nothing_is_bought_if_the_last_variation_is_invalid(
    cli: Run, folder: Path, options: list[str], complaint: str
) -> None:
    Path("lake-2.png").write_bytes(b"mine")
    for command in (["generate"], ["check", "generate"]):
        ran = cli(*command, "A lake", "--variations", "2", *options)
        assert (ran.code, ran.out) == (2, "")
        assert complaint in ran.err
    assert [path.name for path in folder.iterdir()] == ["lake-2.png"]


def test_variations_that_fail_do_not_stop_the_others(cli: Run, failing: Callable[[str], None]) -> None:
    failing("451*1")
    ran = cli("generate", "A lake", "--variations", "3", "--seed", "5", "--json")
    assert ran.code == 9
    kinds = sorted("error" if "error" in json.loads(line) else "image" for line in ran.out.splitlines())
    assert kinds == ["error", "image", "image"]
    assert "was not made:\nerror: " in ran.err
    failing("451")
    assert cli("generate", "A lake", "--variations", "2").code == 6


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_a_name_taken_while_the_picture_was_made_is_left_alone(
    cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:

    def late(path: Path, data: bytes, *, overwrite: bool) -> None:
        if not Path("a-lake.png").exists():
            Path("a-lake.png").write_bytes(b"another process")
        write_bytes(path, data, overwrite=overwrite)

    monkeypatch.setattr("stepfun_async._core.results.write_bytes", late)
    assert cli("generate", "A lake", *options) == (0, "a-lake-2.png\n", "")
    assert Path("a-lake.png").read_bytes() == b"another process"


def test_refuses_a_file_that_is_there_unless_told_to_replace_it(cli: Run, folder: Path) -> None:
    Path("fox.png").write_bytes(b"mine")
    refused = cli("generate", "A fox", "--out", "fox.png")
    assert refused.code == 2
    assert "--out: got 'fox.png'" in refused.err
    assert "unless --overwrite is given" in refused.err
    assert Path("fox.png").read_bytes() == b"mine"
    assert cli("generate", "A fox", "--out", "fox.png", "--overwrite") == (0, "fox.png\n", "")
    assert sides("fox.png") == (1024, 1024)


def test_json_has_what_programs_need(cli: Run, folder: Path) -> None:
    ran = cli("generate", "A lake", "--seed", "5", "--json")
    content = json.loads(ran.out)
    assert ran.code == 0
    assert content.pop("elapsed") >= 0
    assert content.pop("id")
    assert content.pop("trace_id") == "embedded-00000001"
    assert content == {
        "path": "a-lake.png",
        "width": 1024,
        "height": 1024,
        "format": "png",
        "seed": 5,
        "finish_reason": "success",
        "model": "step-image-edit-2",
        "attempts": 1,
        "maybe_billed": 1,
        "price": {"amount": "0.003", "currency": "USD"},
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--size", "16:9"], (1360, 768)),
        (["--size", "1360x768"], (768, 1360)),  # the wire string of this model is HEIGHTxWIDTH
        (["--width", "1360", "--height", "768"], (1360, 768)),
        (["--size", "1280x800", "--model", "step-2x-large"], (1280, 800)),
    ],
)
def test_sizes_mean_what_the_sdk_says(cli: Run, folder: Path, arguments: list[str], expected: tuple[int, int]) -> None:
    ran = cli("generate", "A lake", "--out", "lake.png", *arguments)
    assert sides("lake.png") == expected
    assert ("--width 768 --height 1360 or '9:16' says the same" in ran.err) == ("1360x768" in arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--size", "1:1", "--width", "1024", "--height", "1024"], "both forms are given"),
        (["--width", "1024"], "the other side is missing"),
        (["--height", "1024"], "the other side is missing"),
    ],
)
def test_a_size_is_given_in_one_way_and_whole(cli: Run, folder: Path, arguments: list[str], why: str) -> None:
    ran = cli("generate", "A lake", *arguments)
    assert ran.code == 2
    assert why in ran.err
    assert not list(folder.iterdir())


def test_edit_and_image_to_image_take_files(cli: Run, folder: Path) -> None:
    cli("generate", "A lake", "--size", "4:3", "--out", "lake.png")
    assert cli("edit", "lake.png", "Make it night", "--out", "night.png").code == 0
    assert sides("night.png") == (1184, 896)
    again = cli("image-to-image", "lake.png", "In oil", "--source-weight", "0.4", "--size", "512x512")
    assert again == (0, "in-oil.png\n", "")
    assert sides("in-oil.png") == (512, 512)


def test_style_reference_and_weight_go_together(cli: Run, folder: Path) -> None:
    cli("generate", "A lake", "--out", "lake.png")
    style = ["--model", "step-1x-medium", "--style-reference", "lake.png"]
    assert cli("generate", "A harbour", *style, "--style-weight", "1.5").code == 0
    ran = cli("generate", "A harbour", *style, "--style-weight", "3")
    assert ran.code == 2
    assert "--style-weight: got 3.0" in ran.err


def test_every_problem_is_told_with_its_option(cli: Run, folder: Path) -> None:
    (folder / "lake.png").touch()
    ran = cli("generate", "A lake", "--steps", "99", "--cfg-scale", "0.5", "--out", "lake.png", "--json")
    problems = json.loads(ran.out)["error"]["problems"]
    assert ran.code == 2
    assert [problem["option"] for problem in problems] == ["--steps", "--cfg-scale", "--out"]
    assert problems[0]["nearest"] == 50
    assert "--steps: got 99; allowed: a whole number from 1 to 50. Did you mean 50?" in ran.err


@pytest.mark.parametrize("image", [".", "nowhere.png"])
def test_an_image_that_cannot_be_read_is_a_problem(cli: Run, folder: Path, image: str) -> None:
    ran = cli("edit", image, "Make it night")
    assert ran.code == 2
    assert f"IMAGE: got '{image}' (cannot read" in ran.err


def test_a_warning_is_one_line(cli: Run, folder: Path) -> None:
    ran = cli("generate", "A lake", "--negative-prompt", "dogs")
    assert ran.out == "a-lake.png\n"
    assert ran.err == ("warning: negative_prompt has no effect while cfg_scale is 1.0: raise cfg_scale above 1.0\n")


def test_stdin_that_cannot_be_read(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO())
    stdin.close()
    monkeypatch.setattr(sys, "stdin", stdin)
    ran = cli("edit", "-", "Make it night")
    assert (ran.code, ran.out) == (2, "")
    assert "stdin cannot be read" in ran.err


def test_empty_stdin(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    ran = cli("edit", "-", "Make it night")
    assert ran.code == 2
    assert "it is empty (0 bytes)" in ran.err


def test_stdin_without_an_end(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(10 * 1024 * 1024 + 1))))
    ran = cli("edit", "-", "Make it night", "--model", "step-1x-edit")
    assert ran.code == 2
    assert "more than the 10,485,760 bytes that the model accepts" in ran.err


def test_bytes_and_json_cannot_share_stdout(cli: Run, folder: Path) -> None:
    ran = cli("generate", "A lake", "--out", "-", "--json")
    assert ran.code == 2
    assert "--json is printed there" in ran.err


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A serene alpine lake, at SUNSET!", "a-serene-alpine-lake-at-sunset"),
        ("../../etc/passwd", "etc-passwd"),
        ("宁静的湖", "宁静的湖"),
        ("...", "picture"),
        ("CON", "picture-con"),
        ("a " * 100, ("a-" * 25)[:-1]),
    ],
)
def test_slugs_are_safe_names(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


def test_a_name_is_taken_whatever_the_format(folder: Path) -> None:
    Path("lake.webp").touch()
    assert free_stem("lake") == Path("lake-2")


def test_a_prompt_comes_from_stdin(folder: Path) -> None:
    process = start("generate", "-", "--json", stdin=subprocess.PIPE)
    out, err = process.communicate(b"Ein Fuchs im Schnee\n", timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["path"] == "ein-fuchs-im-schnee.png"


@pytest.mark.parametrize(("piped", "why"), [(b"", "0 characters"), (b"\xff\xfe", "invalid start byte")])
def test_what_stdin_has_for_a_prompt_is_checked_before_anything_is_sent(folder: Path, piped: bytes, why: str) -> None:
    process = start("generate", "-", stdin=subprocess.PIPE)
    _, err = process.communicate(piped, timeout=PATIENCE)
    assert process.returncode == 2
    assert err.decode().splitlines()[1].startswith("  PROMPT: got ")
    assert why in err.decode()
    assert not list(folder.iterdir())


def test_stdin_is_not_both_image_and_prompt(cli: Run) -> None:
    ran = cli("edit", "-", "-")
    assert (ran.code, "PROMPT" in ran.err or "IMAGE" in ran.err) == (2, True)


def test_a_folder_gets_a_file_named_after_the_prompt(cli: Run, folder: Path) -> None:
    (folder / "there").mkdir()
    assert cli("generate", "A lake", "-o", "new/").out == "new/a-lake.png\n"
    assert cli("generate", "A lake", "-o", "new/").out == "new/a-lake-2.png\n"
    assert cli("generate", "A lake", "--out", "there").out == "there/a-lake.png\n"
    assert cli("generate", "A lake", "--out", "newer/.").out == "newer/a-lake.png\n"


def test_a_name_with_the_extension_of_another_format_is_warned_of(cli: Run) -> None:
    assert cli("generate", "A lake", "--out", "lake.jpg").err == (
        "warning: lake.jpg holds a PNG image: call it lake.png, or convert it\n"
    )
    assert cli("generate", "A lake", "--out", "lake.png", "-q").err == ""
    assert cli("generate", "A lake", "--out", "lake.picture").err == ""


def test_short_options_are_those_of_other_programs(cli: Run, caplog: pytest.LogCaptureFixture) -> None:
    ran = cli("generate", "A lake", "-m", "step-2x-large", "-o", "lake.png", "-q", "-v")
    assert ran.code == 0
    assert "attempt 1 succeeded" in ran.err
