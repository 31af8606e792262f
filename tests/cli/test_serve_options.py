"""What `serve` refuses before it loads or listens."""

from __future__ import annotations

import pytest

from stepfun_async.cli.app import run


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("--engine", "diffusers"),
            2,
            "--model-folder: got nothing (--engine diffusers needs it)",
        ),
        (("--model-folder", "sd15"), 2, "only a local model has one: add --engine diffusers"),
        (("--model-name", "sd15"), 2, "--model-name: got 'sd15' (only a local model has one"),
        (("--cors", "localhost:3000"), 2, "such as http://localhost:3000; or *"),
        (("--cors", "http://localhost:3000/page"), 2, "--cors: got 'http://localhost:3000/page'"),
        (("--engine", "turbo"), 2, "--engine"),
        (("--queue", "-1"), 2, "--queue"),
    ],
)
def test_an_option_that_cannot_be_is_named(
    arguments: tuple[str, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == code
    assert says in capsys.readouterr().err
