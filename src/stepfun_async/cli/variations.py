"""Several images of one prompt: `--variations`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from stepfun_async import Client, ImagesResponse, InvalidRequestError, Problem, StepFunError
from stepfun_async._call.settings import resolve
from stepfun_async._core.errors import Billing
from stepfun_async._core.requests import ImageRequest
from stepfun_async._core.rules import Integer
from stepfun_async._core.server import Settings
from stepfun_async._core.slugs import slug

from . import exit_codes as exits
from .check import price_of, print_check, request_to_send
from .console import counted, echo_stderr, spinner
from .errors import Interrupted, report
from .filenames import free_stem
from .generate import output_path, print_result, request_and_save, warn_of_extension
from .options import NO_KEY, STREAM, OutputOptions


@dataclass(frozen=True, slots=True)
class _Variation:
    """One of the images.

    Attributes:
        request: what to send.
        out: the file to write.
    """

    request: ImageRequest
    out: Path


def make_all(request: ImageRequest, output: OutputOptions) -> None:
    """Request all variations, as many at once as the client's limits allow, and print a line about each.

    Raises:
        InvalidRequestError: one of them is invalid; nothing was sent.
        StepFunError: all of them failed.
        Interrupted: Ctrl-C.
        typer.Exit: some of them failed.
    """
    config = _settings(output)
    variations = _checked(request, output, config)
    with Client(base_url=output.base_url, server=output.server, allow_http=output.allow_http) as client:
        with spinner(f"{request.model} is at work on {len(variations)} images", quiet=output.quiet):
            outcomes, interruption = _outcomes(client, variations, output)
        errors = [outcome for outcome in outcomes if isinstance(outcome, StepFunError)]
        if len(errors) == len(outcomes) and interruption is None:
            raise errors[0]
        for variation, outcome in zip(variations, outcomes, strict=True):
            if isinstance(outcome, ImagesResponse):
                price = price_of(variation.request, config)
                warn_of_extension(outcome.image)
                print_result(outcome, client, output, {price.currency: price.amount} if price else {})
            elif outcome is not None and interruption is None:
                echo_stderr(f"{variation.out.name} ({_seed_text(variation.request)}) was not made:")
                report(outcome, as_json=output.as_json)
    if interruption is not None:
        raise interruption
    if errors:
        raise typer.Exit(exits.SOME_FAILED)


def check_all(request: ImageRequest, output: OutputOptions) -> None:
    """Print what all variations would send, make and cost.

    Raises:
        InvalidRequestError: one of them is invalid.
    """
    config = _settings(output)
    variations = _checked(request, output, config)
    print_check(request, config, request_to_send(request, output, variations[0].out), output)


def _settings(output: OutputOptions) -> Settings:
    return resolve(NO_KEY, output.base_url, allow_http=output.allow_http, server=output.server)


def _checked(request: ImageRequest, output: OutputOptions, config: Settings) -> tuple[_Variation, ...]:
    """Return the variations, after all checks of the SDK, since the last one may be invalid when the first is not."""
    if output.out == STREAM:
        problem = Problem("save_to", STREAM, "a file or a folder", f"it takes one image, not {output.variations}")
        raise InvalidRequestError.of("the command line", (problem,))
    requests = _requests(request, output.variations, config)
    variations = tuple(map(_Variation, requests, _files(request, output)))
    for variation in variations:
        request_to_send(variation.request, output, variation.out)
    return variations


def _requests(request: ImageRequest, count: int, config: Settings) -> Iterator[ImageRequest]:
    """Return the requests, with seeds that count up from the one given, or from one that is drawn."""
    row = request.read(config.server).row
    rule = row.rules.get("seed") if row else None
    if not isinstance(rule, Integer):
        yield from [request] * count
        return
    first = request.seed
    if first is None or (first == 0 and rule.zero_is_random):
        first = 1 + secrets.randbelow(rule.maximum - count)
    fields: dict[str, Any] = {name: getattr(request, name) for name in request.model_fields_set}
    for number in range(count):
        fields["seed"] = first + number
        yield type(request)(**fields)


def _files(request: ImageRequest, output: OutputOptions) -> Iterator[Path]:
    """Return a file for each. The first is the file for a single image."""
    first = output_path(request, output) or Path()
    if output.out is None or Path(output.out) != first:
        taken = set[Path]()
        for _ in range(output.variations):
            stem = free_stem(slug(request.prompt or ""), first.parent, taken)
            taken.add(stem)
            yield stem
        return
    yield first
    for number in range(2, output.variations + 1):
        yield first.with_name(f"{first.stem}-{number}{first.suffix}")


def _outcomes(
    client: Client, variations: tuple[_Variation, ...], output: OutputOptions
) -> tuple[list[ImagesResponse | StepFunError | None], Interrupted | None]:
    """Return the result of each, `None` if it was not sent; and the exception to raise after Ctrl-C, if any."""
    is_interrupted = False
    with ThreadPoolExecutor(client.limits.max_concurrency) as threads:
        calls = [threads.submit(request_and_save, client, each.request, output, each.out) for each in variations]
        try:
            wait(calls)
        except KeyboardInterrupt:
            is_interrupted = True
            threads.shutdown(wait=False, cancel_futures=True)
            with suppress(KeyboardInterrupt):  # a second Ctrl-C ends the wait
                client.close()
    return [_outcome(call) for call in calls], _interrupted(client, calls) if is_interrupted else None


def _outcome(call: Future[ImagesResponse]) -> ImagesResponse | StepFunError | None:
    if call.cancelled():
        return None
    try:
        return call.result()
    except StepFunError as error:
        return error


def _interrupted(client: Client, calls: Sequence[Future[ImagesResponse]]) -> Interrupted:
    usage = client.usage
    unfinished = sum(not call.cancelled() for call in calls) - usage.requests  # they have no entry yet
    lost = usage.maybe_billed + max(0, unfinished)
    more = f", and {lost} more may have been billed" if lost else ""
    billing: Billing = "unknown" if lost else "executed" if usage.billed else "not_sent"
    message = f"interrupted; {usage.billed} of {counted(len(calls), 'image')} were made, billed and saved{more}"
    return Interrupted(message, billing=billing, attempts=usage.attempts, maybe_billed=usage.billed + lost)


def _seed_text(request: ImageRequest) -> str:
    return "without a seed" if request.seed is None else f"seed {request.seed}"
