"""The engine: responds to StepFun's image calls on this machine.

Models, sizes, limits and prices come from the same tables as the client's, so both reject the same
requests.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from stepfun_async._core.capabilities import ENDPOINTS, Capability
from stepfun_async._core.money import Money
from stepfun_async._core.problems import show
from stepfun_async._core.reasons import TRACE_HEADERS
from stepfun_async._core.results import FILTERED
from stepfun_async._core.rules import Integer
from stepfun_async._core.server import EMBEDDED
from stepfun_async._core.text import escaped
from stepfun_async._core.wire import HTTPRequest, HTTPResponse
from stepfun_async._runtime.log import log

from .backend import Backend, Drawing, NotMadeError, Stop, Work
from .billing import Bill, Ledger
from .call_log import Log
from .faults import Fault, Scenario
from .hosted_images import Links
from .steps import Send, Step, error_response, steps_of
from .validation import ParsedRequest, Rejection, read

KEYLESS = "embedded"
"""The key of calls without one."""

_PATHS = frozenset(endpoint.path for endpoint in ENDPOINTS.values())
_TRACE = TRACE_HEADERS[0]
_SINCE = 1_735_689_600
"""The `created` of every model listed: the start of 2025, in seconds since 1970."""


_LINK_BASE = "https://embedded.invalid/v1"
"""The start of links while the engine is not served over HTTP."""


@dataclass(frozen=True, slots=True)
class Mount:
    """The endpoint that received a call.

    Attributes:
        plan: whether it used the Step Plan's path, where only some models are served.
        keyless: whether a call without a key is accepted.
        base: the start of links, up to `/v1`.
        stop: set when the caller has gone; `None` if that is not noticed.
    """

    plan: bool = False
    keyless: bool = True
    base: str = _LINK_BASE
    stop: Stop | None = None


def _note_nothing(**facts: object) -> None:
    """Do nothing, in place of a log."""


def _random_seed() -> int:
    return secrets.randbelow(2**31 - 1) + 1


class Engine:
    """A stand-in for StepFun's image service; safe to use from several threads.

    Args:
        scenario: the faults; none by default. Can be set later, as `engine.scenario`.
        keys: the accepted keys; any key by default.
        credit: the most each key may spend, in the currency of the tables' international prices.
        link_lifetime: seconds for which links to images work.
        clock: the time, in seconds since 1970.
        draw_seed: returns the seed, from 1 to 2147483647, of a request without one.
        plain: make plain images of two colours, fast and without Pillow, with the right size, format
            and metadata, and different for different requests. For test suites.
        log: the log that records calls for images; none by default. Can be set later, as `engine.log`.
        strict: reject all parameters that StepFun does not document. Otherwise those that
            clients of OpenAI's API and gateways send with every call (`quality`, `style`, `user`, `drop_params`,
            `output_format` and the like, and `n=1` for a model without `n`) are left out, with a warning of the logger
            `stepfun_async` the first time.
        backend: makes the images; by default they are drawn.
    """

    base_url = EMBEDDED
    """The base URL of the clients in this process that `use` serves with this engine."""

    def __init__(
        self,
        *,
        scenario: Scenario | None = None,
        keys: Collection[str] | None = None,
        credit: float = 100.0,
        link_lifetime: float = 7200.0,
        clock: Callable[[], float] = time.time,
        draw_seed: Callable[[], int] = _random_seed,
        plain: bool = False,
        log: Log | None = None,
        strict: bool = True,
        backend: Backend | None = None,
    ) -> None:
        self.scenario = scenario or Scenario()
        self.log = log
        self.backend: Backend = backend or Drawing(plain=plain)
        self.keys = None if keys is None else frozenset(keys)
        self._clock = clock
        self._draw_seed = draw_seed
        self._ledger = Ledger(credit)
        self._links = Links(link_lifetime, clock)
        self._traces = itertools.count(1)
        self.strict = strict
        self._ignored: set[tuple[str, str]] = set()

    def close(self) -> None:
        """Free what the engine holds; an engine that draws holds nothing."""

    def bill(self, key: str | None = None) -> Bill:
        """Return what `key` was charged so far; `None` for all keys together."""
        return self._ledger.bill(key)

    def play(self, call: HTTPRequest, mount: Mount = Mount()) -> Iterator[Step]:
        """Yield the steps of `call`, including faults of the scenario.

        A call for an image uses up a fault of the scenario when its first step is taken. The image is
        made when the step that sends it is taken: in tens of milliseconds if it is drawn, in less than
        one if it is plain.
        """
        yield from self.perform(call, self.next_fault(call.method, call.path), mount)

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Return and use up the fault of a call, before its body has arrived; `None` for none."""
        return self.scenario.next_fault() if _is_for_image(method, path) else None

    def perform(self, call: HTTPRequest, fault: Fault | None, mount: Mount = Mount()) -> Iterator[Step]:
        """Yield the steps of `call` with `fault`, as in `play`."""
        if not _is_for_image(call.method, call.path):
            yield Send(self.respond(call, mount))
            return
        note = self.log.arrived(call, fault) if self.log else _note_nothing
        if fault is not None and not fault.facts.bills:
            self._ledger.note(_key_of(call) or KEYLESS)
        for step in steps_of(fault, partial(self._made, call, mount, note)):
            if isinstance(step, Send):
                note(status=None if step.cut else step.response.status)
                yield replace(step, response=self._traced(step.response)) if step.traced else step
            else:
                yield step

    def _made(self, call: HTTPRequest, mount: Mount, note: Callable[..., None]) -> HTTPResponse:
        response = self.respond(call, mount)
        note(paid=response.status == 200)
        return response

    def respond(self, call: HTTPRequest, mount: Mount = Mount()) -> HTTPResponse:
        """Return the response to `call`, without any fault of the scenario. No content of a call makes it raise.

        Args:
            call: the HTTP request. An absolute `path` below the mount's `base` is accepted too, as for downloads.
            mount: how it reached the engine.
        """
        return self._traced(self._respond(call, mount))

    def reject(self, call: HTTPRequest, why: str, status: int = 400, mount: Mount = Mount()) -> HTTPResponse:
        """Return the response to a `call` whose body cannot be read.

        Args:
            call: the HTTP request, with any body.
            why: what is wrong with the body.
            status: the status of the response, unless key, path or method are rejected first.
            mount: how it reached the engine.
        """
        if not _is_for_image(call.method, call.path) or self._why_no_access(call, mount):
            return self.respond(call, mount)
        self._ledger.note(_key_of(call) or KEYLESS)
        return self._traced(error_response(status, why, "request_params_invalid"))

    def _traced(self, response: HTTPResponse) -> HTTPResponse:
        if _TRACE in response.headers:
            return response
        return replace(response, headers={**response.headers, _TRACE: f"embedded-{next(self._traces):08d}"})

    def _respond(self, call: HTTPRequest, mount: Mount) -> HTTPResponse:
        path = call.path.removeprefix(mount.base)
        call = replace(call, path=path)
        if call.method == "GET" and path.startswith("/files/"):
            return self._file(path.removeprefix("/files/"))
        if call.method == "OPTIONS" and (methods := _methods_of(path)):
            return HTTPResponse(200, {"allow": ", ".join(methods)}, b"")
        if why := self._why_no_access(call, mount):
            return error_response(401, why, "invalid_api_key")
        key = _key_of(call) or KEYLESS
        if _is_for_image(call.method, call.path):
            return self._image(call, mount, key)
        return self._facts(call, mount, key)

    def _why_no_access(self, call: HTTPRequest, mount: Mount) -> str | None:
        """Return why the key of `call` is rejected; `None` if it is accepted."""
        key = _key_of(call) or (KEYLESS if mount.keyless else None)
        if key is None:
            return "no key: send the header authorization: Bearer KEY"
        if self.keys is None or key in self.keys or (mount.keyless and key == KEYLESS):
            return None
        return "the key is not one of this engine's"

    # --- images

    def _image(self, call: HTTPRequest, mount: Mount, key: str) -> HTTPResponse:
        self._ledger.note(key)
        asked = read(call, partial(self._own, mount), tuple(self.backend.rows()), plan=mount.plan, strict=self.strict)
        if isinstance(asked, Rejection):
            return _refuse(asked.why)
        self._note_ignored(call.path, asked)
        price = None if mount.plan else asked.row.prices.get("international")
        if not self._ledger.charge(key, price):
            return error_response(402, f"the balance is used up: an image costs {price}", "insufficient_balance")
        return self._charged(asked, mount, key, price)

    def _note_ignored(self, path: str, asked: ParsedRequest) -> None:
        """Log each parameter that was left out, once for each endpoint."""
        for name, value in asked.ignored.items():
            if (path, name) not in self._ignored:
                self._ignored.add((path, name))
                log(
                    logging.WARNING,
                    "POST %s: %s=%s is ignored, since %s has no such parameter",
                    path,
                    escaped(name),
                    show(value),
                    asked.row.model,
                )

    def _charged(self, asked: ParsedRequest, mount: Mount, key: str, price: Money | None) -> HTTPResponse:
        work = Work(asked.row, asked.values, self._seed(asked), mount.stop or Stop())
        try:
            data = self.backend.make(work)
        except NotMadeError as error:
            self._ledger.refund(key, price)
            waits = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
            return error_response(error.status, str(error), error.kind, waits)
        except BaseException:
            self._ledger.refund(key, price)
            raise
        finally:
            self._ledger.worked(key, work.seconds)
        return _json_response({**self._head(asked.row), "data": [self._item(asked, work.seed, data, mount)]})

    def _item(self, asked: ParsedRequest, seed: int, data: bytes | None, mount: Mount) -> dict[str, object]:
        """Return the part of a response for one image; `data` is `None` if a filter withheld it."""
        if data is None:
            return {"seed": seed, "finish_reason": FILTERED}
        if asked.values["response_format"] == "b64_json":
            image = {"b64_json": base64.b64encode(data).decode("ascii")}
        else:
            image = {"url": f"{mount.base}/files/{self._links.add(data)}"}
        return {"seed": seed, "finish_reason": "success", **image}

    def _head(self, row: Capability) -> dict[str, object]:
        if row.operation == "image_to_image":
            return {}  # StepFun's example of this endpoint contains neither
        return {"created": int(self._clock()), "id": secrets.token_hex(16)}

    def _seed(self, asked: ParsedRequest) -> int:
        seed = asked.values.get("seed")
        rule = asked.row.rules.get("seed")
        zero_is_random = isinstance(rule, Integer) and rule.zero_is_random
        return self._draw_seed() if not isinstance(seed, int) or (seed == 0 and zero_is_random) else seed

    def _own(self, mount: Mount, link: str) -> bytes | None:
        for base in (mount.base, _LINK_BASE):
            if link.startswith(f"{base}/files/"):
                return self._links.get(link.removeprefix(f"{base}/files/"))
        return None

    # --- everything else

    def _file(self, name: str) -> HTTPResponse:
        data = self._links.get(name)
        if data is None:
            return error_response(404, "the link is wrong, or has expired", "not_found")
        return HTTPResponse(200, {"content-type": "image/png"}, data)

    def _facts(self, call: HTTPRequest, mount: Mount, key: str) -> HTTPResponse:
        if call.method == "GET" and call.path == "/accounts":
            return _json_response(self._account(key))
        if call.method == "GET" and call.path == "/models":
            return _json_response({"object": "list", "data": list(self._models(mount).values())})
        if call.method == "GET" and call.path.startswith("/models/"):
            model = self._models(mount).get(call.path.removeprefix("/models/"))
            return _json_response(model) if model else error_response(404, "there is no such model", "not_found")
        if methods := _methods_of(call.path):
            why = f"{call.path} takes {methods[0]}, not {call.method}"
            return error_response(405, why, "method_not_allowed", {"allow": ", ".join(methods)})
        return error_response(404, f"there is nothing at {call.method} {call.path}", "not_found")

    def _models(self, mount: Mount) -> dict[str, dict[str, object]]:
        served = [row for row in self.backend.rows() if row.step_plan or not mount.plan]
        return {
            row.model: {
                "id": row.model,
                "object": "model",
                "created": _SINCE,
                "owned_by": self.backend.owner or ("registered" if row.source == "registered" else "stepfun"),
            }
            for row in served
        }

    def _account(self, key: str) -> dict[str, object]:
        balance = float(self._ledger.balance(key))
        return {
            "object": "account",
            "type": "prepaid",
            "balance": balance,
            "total_cash_balance": balance,
            "total_voucher_balance": 0.0,
        }


def _is_for_image(method: str, path: str) -> bool:
    return method == "POST" and path in _PATHS


def _methods_of(path: str) -> tuple[str, ...]:
    """Return the methods for `path`; none if nothing is there."""
    if path in _PATHS:
        return ("POST", "OPTIONS")
    if path in ("/models", "/accounts") or path.startswith(("/models/", "/files/")):
        return ("GET", "HEAD", "OPTIONS")
    return ()


def _key_of(call: HTTPRequest) -> str | None:
    scheme, _, key = call.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _json_response(content: Mapping[str, object]) -> HTTPResponse:
    return HTTPResponse(200, {"content-type": "application/json"}, json.dumps(content).encode())


def _refuse(why: str) -> HTTPResponse:
    return error_response(400, why, "request_params_invalid")
