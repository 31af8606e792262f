"""`check`: everything that a command does before it sends the request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

from stepfun_async import Client, Money, Size
from stepfun_async._call.settings import resolve
from stepfun_async._core.input_images import InputImage
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.server import Settings
from stepfun_async._core.wire import HTTPRequest, HTTPResponse, SendState

from .console import echo, echo_json
from .generate import output_path, request_image
from .options import NO_KEY, STREAM, OutputOptions


class _DryRunEnded(Exception):  # noqa: N818 - not an error
    def __init__(self, call: HTTPRequest) -> None:
        super().__init__(call)
        self.call = call


class _DryRunTransport:
    """A transport that stops each call where the request would be sent."""

    async def send(self, call: HTTPRequest, progress: SendState) -> HTTPResponse:
        raise _DryRunEnded(call)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""


def check(request: ImageRequest, output: OutputOptions) -> None:
    """Print what `request` would send, make and cost.

    Raises:
        InvalidRequestError: the request is invalid.
        ConfigurationError: the base URL is invalid.
    """
    config = resolve(NO_KEY, output.base_url, allow_http=output.allow_http, server=output.server)
    out = None if output.out == STREAM else output_path(request, output)
    print_check(request, config, request_to_send(request, output, out), output)


def print_check(request: ImageRequest, config: Settings, call: HTTPRequest, output: OutputOptions) -> None:
    """Print what `request` would send as `call`, make and cost, with all of its variations."""
    if output.as_json:
        echo_json(_content(request, config, call, output.variations))
    else:
        _print(request, config, call, output.variations)


def request_to_send(request: ImageRequest, output: OutputOptions, out: Path | None) -> HTTPRequest:
    """Return the HTTP request that would be sent, after all checks of the SDK.

    Args:
        request: the request.
        output: how it is sent.
        out: the file to write; `None` for stdout.

    Raises:
        InvalidRequestError: the request is invalid, or the file cannot be written.
    """
    with Client(
        NO_KEY,
        base_url=output.base_url,
        server=output.server,
        allow_http=output.allow_http,
        transport=_DryRunTransport(),
    ) as client:
        try:
            request_image(client, request, output, out)
        except _DryRunEnded as caught:
            return caught.call
    raise AssertionError("the request was not stopped")


def _print(request: ImageRequest, config: Settings, call: HTTPRequest, count: int) -> None:
    price = _price_of_all(request, config, count)
    lines = [
        f"valid: {request.model} {request.operation}",
        f"price: {_price_text(price, config, count)}",
        f"size:  {_size_text(request)}",
        f"sends: {call.method} {config.base_url}{call.path}",
        *(f"       {name}: {value}" for name, value in _wire(call).items()),
        "nothing was sent",
    ]
    echo(*lines)


def _content(request: ImageRequest, config: Settings, call: HTTPRequest, count: int) -> dict[str, object]:
    price = _price_of_all(request, config, count)
    width, height = _sides(request) or (None, None)
    return {
        "valid": True,
        "model": request.model,
        "operation": request.operation,
        "images": count,
        "price": None if price is None else {"amount": str(price.amount), "currency": price.currency},
        "width": width,
        "height": height,
        "method": call.method,
        "url": config.base_url + call.path,
        "body": "json" if call.json is not None else "form",
        "parameters": _wire(call),
        "fingerprint": request.fingerprint(),
        "notices": list(request.notices()),
    }


def price_of(request: ImageRequest, config: Settings) -> Money | None:
    """Return what an image costs on the server of `config`; `None` if unknown, or if a subscription pays."""
    return None if config.region is None or config.plan else request.price(config.region)


def _price_of_all(request: ImageRequest, config: Settings, count: int) -> Money | None:
    price = price_of(request, config)
    return None if price is None else price * count


def _price_text(price: Money | None, config: Settings, count: int) -> str:
    if config.plan:
        return "from the Step Plan's monthly credit"
    if price is None:
        return "not known"
    amount = "free" if price.amount == Decimal(0) else f"{price} for {count} images" if count > 1 else str(price)
    return f"{amount} (not charged)" if config.embedded else amount


def _sides(request: ImageRequest) -> tuple[int, int] | None:
    """Return width and height of the image to be made; `None` if not known exactly."""
    image = request.values().get("image")
    rule = request.row.size_rule if request.row else None
    if rule is None:
        if isinstance(image, InputImage) and image.orientation == 1:  # a server may or may not apply EXIF
            return image.width, image.height
        return None
    size = rule.pick(request.size)
    keeps_ratio = request.operation == "edit" and isinstance(image, InputImage) and image.width != image.height
    return None if size is None or keeps_ratio else (size.width, size.height)


def _size_text(request: ImageRequest) -> str:
    sides = _sides(request)
    if sides is not None:
        return Size(width=sides[0], height=sides[1]).label
    rule = request.row.size_rule if request.row else None
    size = rule.pick(request.size) if rule else None
    return f"about {size.width} x {size.height} pixels, in the ratio of the image sent" if size else "not known"


def _wire(call: HTTPRequest) -> dict[str, object]:
    """Return the parameters as sent, images only by their size."""
    files = {name: f"{file.filename} ({file.content_type}, {file.size:,} bytes)" for name, file in call.files.items()}
    parameters = call.json if call.json is not None else call.form
    return {**{name: _short(value) for name, value in parameters.items()}, **files}


_DATA_URI = re.compile(r"(data:image/[a-z]+;base64,)([A-Za-z0-9+/]*=*)")


def _short(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _short(part) for name, part in cast("Mapping[str, object]", value).items()}
    match = _DATA_URI.fullmatch(value) if isinstance(value, str) else None
    return value if match is None else f"{match[1]}... ({len(match[2]):,} characters)"
