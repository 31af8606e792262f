"""`serve`: the embedded engine behind HTTP."""

from __future__ import annotations

import logging
import math
import os
import signal
from functools import partial
from typing import Annotated

import typer

from stepfun_async import ConfigurationError, InvalidRequestError, Problem
from stepfun_async.embedded import Bill, Engine, Fault, Scenario, check_server_available
from stepfun_async.embedded.faults import KINDS

from .console import plain_money, say
from .help_text import wrap_help

KEYS_VARIABLE = "STEPFUN_SERVE_KEYS"
"""The accepted keys, separated by commas. There is no option, since command lines are visible to others."""


def _fault_help() -> str:
    form = "A way to fail: KIND[:STATUS][=SECONDS][*TIMES][%PERCENT], such as 429*2, 503=2*1, delay=0.5 or 500%5."
    kinds = (f"{kind}: {facts.meaning.replace('`', '')}" for kind, facts in KINDS.items() if kind != "status")
    return wrap_help(form, "Can be repeated. KIND is the number of an error status, or one of", *kinds)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for a free one.")] = 8000,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help=_fault_help(),
        ),
    ] = None,
    credit: Annotated[float, typer.Option(help="The most each key may spend, in USD.")] = 100.0,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Reject parameters that StepFun does not document. Otherwise those that clients of OpenAI's API "
            "always send, such as quality or user, are ignored, with a line on stderr the first time.",
        ),
    ] = False,
) -> None:
    """Run a local stand-in for StepFun's service until Ctrl-C.

    It makes real images of the right size at no cost, and counts what StepFun would have charged.
    """
    scenario = Scenario(*_faults(fault or []))
    if not math.isfinite(credit) or credit < 0:
        raise InvalidRequestError.of("serve", (Problem("credit", credit, "a number, 0 or more"),))
    keys = _keys()
    check_server_available()
    from stepfun_async.embedded.server import serve as answer

    engine = Engine(scenario=scenario, keys=keys, credit=credit, strict=strict)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("stepfun_async").addHandler(logging.StreamHandler())  # otherwise it logs nothing
    answer(host, port, engine, partial(_introduce, scenario, keys))
    say(f"bill: {_bill_text(engine.bill())}")


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


def _introduce(scenario: Scenario, keys: frozenset[str] | None, base_url: str) -> None:
    key = "any" if keys is None else f"KEY, one of the {len(keys)} in {KEYS_VARIABLE}"
    lines = [
        "A stand-in for StepFun's image service: it needs no network and costs nothing.",
        f"base URL: {base_url}",
        f"clients:  STEP_BASE_URL={base_url} STEP_API_KEY={key}",
        *(f"fault:    {fault}" for fault in scenario.faults),
        "Ctrl-C ends it and shows the bill.",
    ]
    say(*lines)


def _bill_text(bill: Bill) -> str:
    calls = "1 call" if bill.calls == 1 else f"{bill.calls} calls"
    pictures = "1 image" if bill.pictures == 1 else f"{bill.pictures} images"
    return f"{calls}, {pictures}, {plain_money(bill.spent) or 'no money'}"
