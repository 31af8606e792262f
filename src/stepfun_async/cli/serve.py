"""`serve`: an engine behind HTTP, which draws stand-ins or runs a local model."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from stepfun_async import ConfigurationError, InvalidRequestError, Problem
from stepfun_async.embedded import Bill, Engine, Fault, Scenario, check_server_available
from stepfun_async.embedded.faults import KINDS

from .console import echo, format_money
from .help_text import wrap_help
from .serve_log import ServeLog

KEYS_VARIABLE = "STEPFUN_SERVE_KEYS"
"""The accepted keys, separated by commas. There is no option, since command lines are visible to others."""


class EngineKind(StrEnum):
    """The engine that makes the images."""

    EMBEDDED = "embedded"
    DIFFUSERS = "diffusers"


class DeviceKind(StrEnum):
    """The device of a local model."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def _fault_help() -> str:
    form = "A way to fail: KIND[:STATUS][=SECONDS][*TIMES][%PERCENT], such as 429*2, 503=2*1, delay=0.5 or 500%5."
    kinds = (f"{kind}: {facts.meaning.replace('`', '')}" for kind, facts in KINDS.items() if kind != "status")
    return wrap_help(form, "Can be repeated. KIND is the number of an error status, or one of", *kinds)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for a free one.")] = 8000,
    engine: Annotated[
        EngineKind,
        typer.Option(help="What makes the images: embedded draws stand-ins, diffusers runs a model on this machine."),
    ] = EngineKind.EMBEDDED,
    model_folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The model for --engine diffusers: a folder with a model_index.json."),
    ] = None,
    model_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name in the API; by default the folder's.")
    ] = None,
    device: Annotated[DeviceKind, typer.Option(help="Where the model runs; auto: on a GPU if there is one.")] = (
        DeviceKind.AUTO
    ),
    queue: Annotated[
        int, typer.Option(min=0, help="The number of requests that may wait for the model; others get a 429.")
    ] = 8,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help=_fault_help(),
        ),
    ] = None,
    credit: Annotated[float, typer.Option(help="The most each key may spend, in USD.")] = 100.0,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web page's origin that may call the server from a browser, such as http://localhost:3000; "
            "* for all. Can be repeated.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Reject parameters that StepFun does not document. Otherwise those that clients of OpenAI's API "
            "and gateways always send, such as quality or user, are ignored, with a line on stderr the first time.",
        ),
    ] = False,
) -> None:
    """Serve images over StepFun's protocol until Ctrl-C, with a page at / to try it in a browser.

    By default it is a stand-in for StepFun's service, which draws images of the right size at no cost, and counts what
    StepFun would have charged. With --engine diffusers it runs a model on this machine.
    """
    settings = {"scenario": Scenario(*_faults(fault or [])), "keys": _keys(), "credit": credit, "strict": strict}
    if not math.isfinite(credit) or credit < 0:
        raise InvalidRequestError.of("serve", (Problem("credit", credit, "a number, 0 or more"),))
    origins = [_origin(text) for text in cors or []]
    check_server_available()
    with ServeLog() as serve_log:
        if engine is EngineKind.DIFFUSERS:
            make = _local_model(model_folder, model_name, device, queue, serve_log)
        else:
            _refuse_for_embedded(folder=model_folder, name=model_name)
            make = Engine
        _serve(host, port, partial(make, **settings), origins)


def _serve(host: str, port: int, make: Callable[[], Engine], origins: list[str]) -> None:
    from stepfun_async.embedded.server import serve as run_server

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine = make()
    try:
        run_server(host, port, engine, partial(_print_banner, engine), origins)
    finally:
        engine.close()
    echo(f"bill: {_bill_text(engine.bill())}")


# --- options --------------------------------------------------------------------------------------


def _faults(texts: list[str]) -> list[Fault]:
    return [_fault(text) for text in texts]


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ConfigurationError as error:
        raise InvalidRequestError.of("serve", (Problem("fault", text, "", str(error)),)) from error


def _keys() -> frozenset[str] | None:
    named = (key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(","))
    return frozenset(key for key in named if key) or None


_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?")


def _origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without a path."""
    origin = text.strip().rstrip("/").lower()
    if not _ORIGIN.fullmatch(origin):
        allowed = "an origin: scheme and host, and the port if there is one, such as http://localhost:3000; or *"
        raise InvalidRequestError.of("serve", (Problem("cors", text, allowed),))
    return origin


def _refuse_for_embedded(*, folder: Path | None, name: str | None) -> None:
    given = {"model_folder": folder, "model_name": name}
    why = "only a local model has one: add --engine diffusers"
    problems = tuple(Problem(option, str(value), "", why) for option, value in given.items() if value is not None)
    if problems:
        raise InvalidRequestError.of("serve", problems)


def _local_model(
    folder: Path | None, name: str | None, device: DeviceKind, queue: int, serve_log: ServeLog
) -> Callable[..., Engine]:
    if folder is None:
        allowed = "the folder of a model, with a model_index.json"
        raise InvalidRequestError.of("serve", (Problem("model_folder", None, allowed, "--engine diffusers needs it"),))
    from stepfun_async.diffusers import DiffusersEngine

    def load(**settings: Any) -> Engine:
        with serve_log.loading(folder):
            return DiffusersEngine(
                folder, device.value, name=name, queue=queue, on_progress=serve_log.on_progress, **settings
            )

    return load


# --- output ---------------------------------------------------------------------------------------


def _print_banner(engine: Engine, base_url: str) -> None:
    keys = engine.keys
    key = "any" if keys is None else f"KEY, one of the {len(keys)} in {KEYS_VARIABLE}"
    models = {row.model: None for row in engine.backend.rows()}
    lines = [
        f"{engine.backend.purpose[:1].upper()}{engine.backend.purpose[1:]}.",
        f"base URL: {base_url}",
        f"clients:  STEP_BASE_URL={base_url} STEP_API_KEY={key}",
        f"page:     {base_url.removesuffix('/v1')}/",
        f"models:   {', '.join(models)}",
        *(f"fault:    {fault}" for fault in engine.scenario.faults),
        "Ctrl-C ends it and shows the bill.",
    ]
    echo(*lines)


def _bill_text(bill: Bill) -> str:
    calls = "1 call" if bill.calls == 1 else f"{bill.calls} calls"
    images = "1 image" if bill.images == 1 else f"{bill.images} images"
    work = f"{bill.seconds:.1f} s of work" if bill.seconds else ""
    spent = format_money({currency: amount for currency, amount in bill.spent.items() if amount})
    return f"{calls}, {images}, {spent or work or 'no money'}"
