"""The options that several commands share, and the values made from them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import typer

from stepfun_async import Budget, Client, ConfigurationError, InvalidRequestError, Problem, Size, register_model
from stepfun_async._call.settings import BASE_URL_VARIABLE, DEFAULT_BASE_URL, SERVER_VARIABLE, resolve
from stepfun_async._core.capabilities import TIERS
from stepfun_async._core.registry import rows
from stepfun_async._core.size_rules import Sizes
from stepfun_async.batch.inputs.sources import MOST_VARIATIONS

from .help_text import height_first

STREAM = "-"
"""The name that stands for stdin or stdout instead of a file."""

TIMEOUT: float = inspect.signature(Client).parameters["timeout"].default
"""The default timeout of a call, in seconds."""

Width = Annotated[int | None, typer.Option(metavar="PIXELS", help="The width; needs --height too.")]
Height = Annotated[int | None, typer.Option(metavar="PIXELS", help="The height; needs --width too.")]
Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="The file to write. Without an extension, it gets that of the image's format. For a FOLDER/, and without "
        "--out, the name is made from the prompt, and no file is overwritten. - is stdout.",
    ),
]
Variations = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        min=1,
        max=MOST_VARIATIONS,
        help="The number of images, each with its own seed, which counts up, and its own file.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log each attempt on stderr.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that --out names.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help=f"For all attempts, the waits between them and the download: {TIMEOUT:g}."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help=f"The URL of the API; by default {BASE_URL_VARIABLE}, or else {DEFAULT_BASE_URL}. "
        "embedded answers offline, without a key.",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="SERVER",
        help=f"The kind of server at that URL, such as vllm-omni; by default {SERVER_VARIABLE}, or derived from the "
        "URL. stepfun-async servers lists them.",
    ),
]
AllowHttp = Annotated[
    bool,
    typer.Option(
        "--allow-http",
        help="Allow sending the API key to another machine over unencrypted HTTP.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The options for requesting an image and writing it, by the names of the commands' parameters.

    Attributes:
        out: the file to write; `None` for one named after the prompt, `-` for stdout.
        overwrite: whether to replace an existing file.
        timeout: seconds; `None` for the client's default.
        base_url: the URL of the API; `None` for the environment's.
        server: the profile of the server there; `None` for the environment's, or the one derived from the URL.
        allow_http: whether to allow sending the key to another machine unencrypted.
        as_json: whether to print JSON.
        quiet: whether to show nothing while an image is being made.
        verbose: whether to log each attempt on stderr.
        variations: how many images to make.
    """

    out: str | None
    overwrite: bool
    timeout: float | None
    base_url: str | None
    server: str | None
    allow_http: bool
    as_json: bool
    quiet: bool
    verbose: bool
    variations: int


NO_KEY = "nothing-is-sent"
"""The key of settings that are never sent."""


def register_unknown_model(model: str | None, base_url: str | None, server: str | None) -> None:
    """Register `model` if it is not in the tables and the server is an open engine, which serves any model."""
    if model is None or any(row.model == model for row in rows()):
        return
    profile = resolve(NO_KEY, base_url, allow_http=True, server=server).server
    if not profile.verbatim:
        register_model(model, server=profile)


def complete_model(incomplete: str) -> list[str]:
    """Return the models that begin with `incomplete`."""
    return [name for name in dict.fromkeys(row.model for row in rows()) if name.startswith(incomplete)]


def complete_size(incomplete: str) -> list[str]:
    """Return the aspect ratios that begin with `incomplete`."""
    ratios = dict.fromkeys(ratio for row in rows() if isinstance(row.sizes, Sizes) for ratio in row.sizes.ratios)
    return [ratio for ratio in ratios if ratio.startswith(incomplete)]


def complete_tier(incomplete: str) -> list[str]:
    """Return the tiers that begin with `incomplete`."""
    tiers = sorted({name for region in TIERS.values() for name in region})
    return [name for name in tiers if name.startswith(incomplete.upper())]


def size_help() -> str:
    """Return the help for sizes."""
    return (
        "An aspect ratio, width to height, such as 16:9; --width and --height give pixels. StepFun's own strings are "
        f"WIDTHxHEIGHT, but HEIGHTxWIDTH for {height_first()}, which is warned about."
    )


def chosen_size(size: str | None, width: int | None, height: int | None) -> str | Size | None:
    """Return the size from the three options.

    Raises:
        InvalidRequestError: both forms are given, or only one side.
    """
    if width is None and height is None:
        return size
    if size is not None:
        raise _ambiguous(size, "both forms are given")
    if width is None or height is None:
        raise _ambiguous(f"only {'--height' if width is None else '--width'}", "the other side is missing")
    return Size(width=width, height=height)


def _ambiguous(given: str, why: str) -> InvalidRequestError:
    problem = Problem("size", given, "--size, or --width with --height", why)
    return InvalidRequestError.of("the command line", (problem,))


def budget_of(text: str | None) -> Budget | None:
    """Return the budget of `--budget`: an amount, and a currency if it is not USD."""
    if text is None:
        return None
    amount, _, currency = text.strip().partition(" ")
    try:
        return Budget(amount, currency.strip()) if currency else Budget(amount)
    except ConfigurationError as error:
        raise typer.BadParameter(error.message, param_hint="--budget") from error
