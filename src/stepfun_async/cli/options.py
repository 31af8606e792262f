"""The options that several commands share, and what they say of how a picture is made."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import typer

from stepfun_async import Client, InvalidRequestError, Problem, Size
from stepfun_async._call.settings import BASE_URL_VARIABLE, DEFAULT_BASE_URL

from .help_text import height_first

STREAM = "-"
"""The name of stdin or stdout in the place of a file."""

TIMEOUT: float = inspect.signature(Client).parameters["timeout"].default
"""Seconds for a call, where nobody says otherwise."""

Width = Annotated[int | None, typer.Option(metavar="PIXELS", help="The size by its sides: needs --height too.")]
Height = Annotated[int | None, typer.Option(metavar="PIXELS", help="Needs --width too.")]
Out = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="The file to write. Without an extension it gets the picture's. Without --out a name is made of the "
        "prompt, and nothing is ever overwritten. - is stdout.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that --out names.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help=f"For all attempts, the waits between them and the download: {TIMEOUT:g}."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help=f"Where the API is; otherwise {BASE_URL_VARIABLE}, otherwise {DEFAULT_BASE_URL}. "
        "embedded answers offline, without a key.",
    ),
]
AllowHttp = Annotated[
    bool,
    typer.Option(
        "--allow-http",
        help="Let the key go to another machine over plain http, where everybody on the way can read it.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a picture is asked for and handed over.

    Attributes:
        out: the file to write; None for one named after the prompt, `-` for stdout.
        overwrite: whether that file may be replaced.
        timeout: seconds; None for the client's.
        base_url: where the API is; None for the environment's.
        allow_http: whether the key may go to another machine unencrypted.
        as_json: whether to print JSON.
    """

    out: str | None
    overwrite: bool
    timeout: float | None
    base_url: str | None
    allow_http: bool
    as_json: bool


def size_help() -> str:
    """How sizes are written."""
    return (
        "An aspect ratio, width to height, such as 16:9; or the string that StepFun documents for the model: "
        f"WIDTHxHEIGHT, but HEIGHTxWIDTH for {height_first()}."
    )


def chosen_size(size: str | None, width: int | None, height: int | None) -> str | Size | None:
    """The size that the three options say together.

    Raises:
        InvalidRequestError: it is given in both ways, or as one side only.
    """
    if width is None and height is None:
        return size
    if size is not None:
        raise _ambiguous(size, "it is given in both ways")
    if width is None or height is None:
        raise _ambiguous(f"only {'--height' if width is None else '--width'}", "the other side is missing")
    return Size(width=width, height=height)


def _ambiguous(given: str, why: str) -> InvalidRequestError:
    problem = Problem("size", given, "--size, or --width with --height", why)
    return InvalidRequestError.of("the command line", (problem,))
