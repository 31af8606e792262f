"""`generate`, `edit` and `image-to-image`. Under `check`, the same commands only check the request."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Annotated, Any

import typer

from stepfun_async import ImageEdit, ImageToImage, InvalidRequestError, Problem, TextToImage
from stepfun_async._core.capabilities import Operation
from stepfun_async._core.image_rules import ImageInput
from stepfun_async._core.registry import row_of
from stepfun_async._core.requests import ImageRequest

from .check import check
from .console import is_open, log_to_stderr
from .generate import make
from .help_text import models, note_of, parameter_help, style, wrap_help
from .options import (
    STREAM,
    AllowHttp,
    AsJson,
    BaseUrl,
    Height,
    Out,
    OutputOptions,
    Overwrite,
    Quiet,
    ServerOption,
    Timeout,
    Variations,
    Verbose,
    Width,
    chosen_size,
    complete_model,
    complete_size,
    register_unknown_model,
    size_help,
)
from .variations import check_all, make_all

CHECK = "check"
"""The context's object under `check`, where nothing is sent."""

_SEED = "The same seed and parameters make similar images; random by default:"
_STEPS = "More are slower and finer."
_SCALE = "How closely to follow the prompt."
_NEGATIVE = "What the image should not show; needs --cfg-scale above 1."
_TEXT_MODE = "Improve lettering inside the image."
_SHOWS = f"What the image shows, or {STREAM} for stdin:"
_CHANGES = f"What to change, or {STREAM} for stdin:"
_EDIT_SIZE = f"{note_of('size', 'edit')}.".capitalize()
_WEIGHT = f"{note_of('source_weight', 'image_to_image')}.".capitalize()
_IMAGE = f"A file, or {STREAM} for stdin."


def _model(operation: Operation, default: str) -> Any:
    help_text = models(operation, default)
    return typer.Option("--model", "-m", show_default=False, autocompletion=complete_model, help=help_text)


def _size(operation: Operation, intro: str) -> Any:
    return typer.Option("--size", autocompletion=complete_size, help=parameter_help("size", operation, intro))


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help=parameter_help("prompt", "text_to_image", _SHOWS))],
    model: Annotated[
        str,
        _model("text_to_image", TextToImage().model),
    ] = TextToImage().model,
    size: Annotated[
        str | None,
        _size("text_to_image", size_help()),
    ] = None,
    width: Width = None,
    height: Height = None,
    seed: Annotated[int | None, typer.Option(help=parameter_help("seed", "text_to_image", _SEED))] = None,
    steps: Annotated[int | None, typer.Option(help=parameter_help("steps", "text_to_image", _STEPS))] = None,
    cfg_scale: Annotated[float | None, typer.Option(help=parameter_help("cfg_scale", "text_to_image", _SCALE))] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help=parameter_help("negative_prompt", "text_to_image", _NEGATIVE))
    ] = None,
    text_mode: Annotated[
        bool | None,
        typer.Option("--text-mode/--no-text-mode", help=parameter_help("text_mode", "text_to_image", _TEXT_MODE)),
    ] = None,
    style_reference: Annotated[
        str | None, typer.Option(metavar="PATH_OR_URL", help=wrap_help("An image whose style to apply.", style()[0]))
    ] = None,
    style_weight: Annotated[float | None, typer.Option(help=wrap_help("How strongly.", style()[1]))] = None,
    variations: Variations = 1,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Generate an image from a text prompt."""
    register_unknown_model(model, base_url, server)
    request = TextToImage(
        model=model,
        prompt=_prompt(prompt),
        size=chosen_size(size, width, height),
        seed=seed,
        steps=steps,
        cfg_scale=cfg_scale,
        negative_prompt=negative_prompt,
        text_mode=text_mode,
        style_reference=_style_of(style_reference, style_weight),
    )
    _run(context, request)


def edit(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help=parameter_help("image", "edit", _IMAGE))],
    prompt: Annotated[
        str,
        typer.Argument(metavar="PROMPT", help=parameter_help("prompt", "edit", _CHANGES)),
    ],
    model: Annotated[
        str,
        _model("edit", ImageEdit().model),
    ] = ImageEdit().model,
    size: Annotated[
        str | None,
        _size("edit", _EDIT_SIZE),
    ] = None,
    width: Width = None,
    height: Height = None,
    seed: Annotated[int | None, typer.Option(help=parameter_help("seed", "edit", _SEED))] = None,
    steps: Annotated[int | None, typer.Option(help=parameter_help("steps", "edit", _STEPS))] = None,
    cfg_scale: Annotated[float | None, typer.Option(help=parameter_help("cfg_scale", "edit", _SCALE))] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help=parameter_help("negative_prompt", "edit", _NEGATIVE))
    ] = None,
    text_mode: Annotated[
        bool | None, typer.Option("--text-mode/--no-text-mode", help=parameter_help("text_mode", "edit", _TEXT_MODE))
    ] = None,
    variations: Variations = 1,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Edit an image as the prompt says."""
    register_unknown_model(model, base_url, server)
    request = ImageEdit(
        model=model,
        image=_image(image, model, "edit"),
        prompt=_prompt(prompt, image),
        size=chosen_size(size, width, height),
        seed=seed,
        steps=steps,
        cfg_scale=cfg_scale,
        negative_prompt=negative_prompt,
        text_mode=text_mode,
    )
    _run(context, request)


def image_to_image(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help=parameter_help("image", "image_to_image", _IMAGE))],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help=parameter_help("prompt", "image_to_image", _SHOWS))],
    source_weight: Annotated[
        float,
        typer.Option(help=parameter_help("source_weight", "image_to_image", _WEIGHT)),
    ],
    model: Annotated[
        str,
        _model("image_to_image", ImageToImage().model),
    ] = ImageToImage().model,
    size: Annotated[
        str | None,
        _size("image_to_image", size_help()),
    ] = None,
    width: Width = None,
    height: Height = None,
    seed: Annotated[int | None, typer.Option(help=parameter_help("seed", "image_to_image", _SEED))] = None,
    steps: Annotated[int | None, typer.Option(help=parameter_help("steps", "image_to_image", _STEPS))] = None,
    cfg_scale: Annotated[float | None, typer.Option(help=parameter_help("cfg_scale", "image_to_image", _SCALE))] = None,
    variations: Variations = 1,
    out: Out = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Generate a new image from an existing one."""
    register_unknown_model(model, base_url, server)
    request = ImageToImage(
        model=model,
        image=_image(image, model, "image_to_image"),
        prompt=_prompt(prompt, image),
        source_weight=source_weight,
        size=chosen_size(size, width, height),
        seed=seed,
        steps=steps,
        cfg_scale=cfg_scale,
    )
    _run(context, request)


def _run(context: typer.Context, request: ImageRequest) -> None:
    """Make or check the image of a request, as the command's output options say."""
    output = OutputOptions(**{option.name: context.params[option.name] for option in fields(OutputOptions)})
    if output.verbose:
        log_to_stderr()
    several = output.variations > 1
    if context.obj == CHECK:
        (check_all if several else check)(request, output)
    else:
        (make_all if several else make)(request, output)


def _style_of(image: str | None, weight: float | None) -> dict[str, object] | None:
    parts = {"source_url": image, "weight": weight}
    return {name: value for name, value in parts.items() if value is not None} or None


def _image(image: str, model: str, operation: Operation) -> str | bytes:
    """Return the path or link given, or the bytes of stdin, up to what the model accepts."""
    if image != STREAM:
        return image
    row = row_of(model, operation)
    rule = row.rules.get("image") if row else None
    most = rule.max_bytes if isinstance(rule, ImageInput) else None
    data = _stdin("image", "an image", most)
    if most is not None and len(data) > most:
        raise _unreadable("image", "an image", f"stdin has more than the {most:,} bytes that the model accepts")
    return data


_LONGEST_PROMPT = 1_000_000
"""Bytes of stdin that are read as a prompt; no model takes as many."""


def _prompt(prompt: str, image: str = "") -> str:
    """Return the prompt given, or the text of stdin."""
    if prompt != STREAM:
        return prompt
    if image == STREAM:
        raise _unreadable("prompt", "text", "the image is read from stdin already")
    try:
        return _stdin("prompt", "text", _LONGEST_PROMPT).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise _unreadable("prompt", "text in UTF-8", f"stdin is no such text: {error.reason}") from error


def _stdin(field: str, what: str, most: int | None) -> bytes:
    """Return what a pipe sends, and one byte more than `most` if it sends more."""
    if not is_open(sys.stdin):
        raise _unreadable(field, what, "stdin is closed")
    try:
        terminal = sys.stdin.isatty()
        data = b"" if terminal else sys.stdin.buffer.read(-1 if most is None else most + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(field, what, f"stdin cannot be read: {error}") from error
    if terminal:
        raise _unreadable(field, what, f"stdin is a terminal: send {what} through a pipe")
    return data


def _unreadable(field: str, what: str, why: str) -> InvalidRequestError:
    return InvalidRequestError.of("the command line", (Problem(field, STREAM, what, why),))
