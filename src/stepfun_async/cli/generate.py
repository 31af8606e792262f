"""Request an image, save it, and print the result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from stepfun_async import (
    APIError,
    Client,
    Image,
    ImagesResponse,
    InvalidRequestError,
    Problem,
    SaveError,
)
from stepfun_async._core.capabilities import Operation
from stepfun_async._core.errors import Billing
from stepfun_async._core.headers import EXTENSIONS
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.slugs import slug
from stepfun_async._runtime.files import names_directory

from .console import (
    OutputError,
    discard_stdout,
    echo,
    echo_json,
    echo_stderr,
    format_money,
    is_open,
    is_terminal,
    on_terminal,
    spinner,
)
from .errors import Interrupted
from .filenames import free_stem
from .options import STREAM, OutputOptions

METHODS: Mapping[Operation, str] = {"text_to_image": "generate", "edit": "edit", "image_to_image": "image_to_image"}
"""The client's method for each operation."""


def make(request: ImageRequest, output: OutputOptions) -> None:
    """Request an image, write it, and print one line about it.

    Raises:
        StepFunError: any error of the SDK.
        Interrupted: Ctrl-C.
    """
    out = output_path(request, output)
    with Client(base_url=output.base_url, server=output.server, allow_http=output.allow_http) as client:
        with spinner(f"{request.model} is at work", quiet=output.quiet):
            response = _make_response(client, request, output, out)
        if out is not None:
            warn_of_extension(response.image)
            print_result(response, client, output, client.usage.spent)


def request_image(client: Client, request: ImageRequest, output: OutputOptions, out: Path | None) -> ImagesResponse:
    """Return the response to `request`, saved to `out` if given."""
    method: Callable[..., ImagesResponse] = getattr(client.images, METHODS[request.operation])
    save_to = None if out is None else str(out)
    overwrite = output.overwrite and output.out is not None
    options = {"save_to": save_to, "overwrite": overwrite, "timeout": output.timeout}
    return method(model=request.model, **request.given(), **options)


def output_path(request: ImageRequest, output: OutputOptions) -> Path | None:
    """Return the file to write; `None` for stdout.

    Raises:
        InvalidRequestError: stdout is a terminal, or is used for JSON.
    """
    if output.out is None:
        return free_stem(slug(request.prompt or ""))
    if output.out != STREAM:
        path = Path(output.out)
        return free_stem(slug(request.prompt or ""), path) if names_directory(output.out) else path
    if output.as_json:
        raise _no_stdout("--json is printed there")
    if not is_open(sys.stdout):
        raise _no_stdout("stdout is closed")
    if is_terminal(sys.stdout):
        raise _no_stdout("stdout is a terminal: send it to a file or a pipe")
    return None


def warn_of_extension(image: Image) -> None:
    """Warn if the extension of a file is that of another format."""
    if image.path is None or image.format is None:
        return
    named = _FORMATS.get(image.path.suffix.lower())
    if named not in (None, image.format):
        suggested = image.path.with_suffix(EXTENSIONS[image.format])
        echo_stderr(
            f"warning: {image.path} holds a {image.format.upper()} image: call it {suggested.name}, or convert it"
        )


_FORMATS: Mapping[str, str] = {**{end: name for name, end in EXTENSIONS.items()}, ".jpeg": "jpeg"}
"""The formats of extensions."""


def _no_stdout(why: str) -> InvalidRequestError:
    return InvalidRequestError.of("the command line", (Problem("save_to", STREAM, "a file", why),))


def _make_response(client: Client, request: ImageRequest, output: OutputOptions, out: Path | None) -> ImagesResponse:
    try:
        if out is not None:
            return request_and_save(client, request, output, out)
        response = request_image(client, request, output, None)
        _write_out(client, response)
        return response
    except KeyboardInterrupt:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C ends the wait
            client.close()
        raise _interrupted(client, out) from None


def request_and_save(client: Client, request: ImageRequest, output: OutputOptions, out: Path) -> ImagesResponse:
    """Return the response to `request`, saved to `out`, or under the next free name if `out` was made from the prompt.

    Raises:
        StepFunError: any error of the SDK.
    """
    try:
        return request_image(client, request, output, out)
    except SaveError as error:
        if output.out is not None:
            raise
        return _save_under_next_name(error, request, out)


def _save_under_next_name(error: SaveError, request: ImageRequest, out: Path) -> ImagesResponse:
    """Save the response under the next free name if another process has just created `out`."""
    image = error.response.image
    while image.target(out).exists():
        out = free_stem(slug(request.prompt or ""))
        with suppress(OSError, InvalidRequestError):
            path = image.save(out)
            return replace(error.response, data=(replace(image, path=path),))
    raise error


def _write_out(client: Client, response: ImagesResponse) -> None:
    """Write the image to stdout."""
    try:
        sys.stdout.buffer.write(_bytes(client, response.image))
        sys.stdout.buffer.flush()
    except (APIError, OSError) as error:
        discard_stdout()
        message = f"the image was made and paid for, but not written to stdout: {error}"
        raise SaveError(message, response=response) from error


def _bytes(client: Client, image: Image) -> bytes:
    data = image.data if image.data is not None else client.images.download(image).data
    return data or b""


def _interrupted(client: Client, out: Path | None) -> Interrupted:
    usage = client.usage
    maybe_billed = usage.billed + usage.maybe_billed
    billing: Billing = "not_sent"
    message = "nothing was billed"
    if usage.billed:
        billing = "executed"
        message = "the image was made and billed" + (f", and may be saved as {out}" if out is not None else "")
    elif usage.maybe_billed or not usage.requests:  # without an entry, the call has not yet ended
        billing = "unknown"
        message = "the image may have been billed; a retry may be billed again"
    return Interrupted(f"interrupted; {message}", billing=billing, attempts=usage.attempts, maybe_billed=maybe_billed)


def print_result(response: ImagesResponse, client: Client, output: OutputOptions, spent: Mapping[str, Decimal]) -> None:
    """Print one line about an image.

    Args:
        response: its response.
        client: the client that sent the request.
        output: how to print it.
        spent: what it has cost, by currency.

    Raises:
        OutputError: stdout cannot be written to.
    """
    try:
        if output.as_json:
            echo_json(_content(response, spent))
        elif on_terminal():
            echo(_line(response, client, spent))
        else:
            echo(str(response.image.path))
    except OutputError as error:
        raise OutputError(f"{error}; the image is saved as {response.image.path}") from error


def _line(response: ImagesResponse, client: Client, spent: Mapping[str, Decimal]) -> str:
    image = response.image
    price = format_money(spent)
    if price and client.base_url == "embedded":
        price = f"{price} (not charged)"
    seed = None if image.seed is None else f"seed {image.seed}"
    facts = (f"{image.width} x {image.height} {image.format}", seed, price, f"{response.elapsed:.1f} s")
    return "  ".join([str(image.path), *(fact for fact in facts if fact)])


def _content(response: ImagesResponse, spent: Mapping[str, Decimal]) -> dict[str, object]:
    image = response.image
    prices = [{"amount": str(amount), "currency": currency} for currency, amount in spent.items()]
    return {
        "path": str(image.path),
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "seed": image.seed,
        "finish_reason": image.finish_reason,
        "id": response.id,
        "trace_id": response.trace_id,
        "model": response.model,
        "attempts": response.attempts,
        "maybe_billed": response.maybe_billed,
        "elapsed": round(response.elapsed, 3),
        "price": prices[0] if prices else None,
    }
