"""The ways in which the service fails, as values, and which of them applies to a call.

`steps` has what each does to a call.
"""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeVar, cast

from stepfun_async._core.errors import ConfigurationError

FaultKind = Literal[
    "status",
    "delay",
    "hang",
    "drip",
    "drop-before",
    "drop-after",
    "truncated",
    "bad-json",
    "bad-base64",
    "empty",
    "filtered",
    "html",
    "redirect",
    "envoy-503",
    "varnish-503",
    "litellm-408",
    "error-in-200",
    "accepted",
    "heartbeat",
    "mid-upload",
    "stop-reading",
    "keep-alive",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """The definition of one kind of fault.

    Attributes:
        meaning: what happens, in words.
        bills: whether the image is made and charged.
        statuses: the statuses it accepts; the first one is the default.
        seconds: whether it accepts a time.
        usual: the default seconds.
        early: whether it occurs before the whole request has arrived.
    """

    meaning: str
    bills: bool
    statuses: tuple[int, ...] = ()
    seconds: bool = False
    usual: float = 0.0
    early: bool = False


_ERRORS = (400, 401, 402, 403, 404, 429, 451, 500, 502, 503, 504)
_WAITABLE = (429, 503)
"""The statuses that come with a Retry-After."""

_REFUSALS = (413, 401, 403, 429)
"""The statuses that reject a request before all of it has arrived."""

KINDS: Mapping[FaultKind, KindFacts] = MappingProxyType(
    {
        "status": KindFacts(
            meaning="an error status, written as its number", bills=False, statuses=_ERRORS, seconds=True
        ),
        "delay": KindFacts(meaning="the response comes `seconds` late", bills=True, seconds=True),
        "hang": KindFacts(meaning="no response ever comes", bills=False),
        "drip": KindFacts(meaning="the body comes in 50 pieces, `seconds` apart", bills=True, seconds=True),
        "drop-before": KindFacts(meaning="the connection is lost before anything is done", bills=False),
        "drop-after": KindFacts(meaning="the connection is lost after the image was charged", bills=True),
        "truncated": KindFacts(meaning="the connection is lost in the middle of the response", bills=True),
        "bad-json": KindFacts(meaning="the response is JSON that breaks off", bills=True),
        "bad-base64": KindFacts(meaning="the image's base64 is broken", bills=True),
        "empty": KindFacts(meaning="the response has no images", bills=True),
        "filtered": KindFacts(meaning="the image is withheld by the content filter", bills=True),
        "html": KindFacts(meaning="a gateway's HTML page", bills=False, statuses=(502, 200, *_ERRORS)),
        "redirect": KindFacts(meaning="a redirect elsewhere", bills=False, statuses=(307, 301, 302, 303, 308)),
        "envoy-503": KindFacts(
            meaning="Envoy's text for a lost connection, with 503, after the image was charged", bills=True
        ),
        "varnish-503": KindFacts(
            meaning="Varnish's HTML page, with 503 and a Retry-After of `seconds` (5), after the image was charged",
            bills=True,
            seconds=True,
            usual=5.0,
        ),
        "litellm-408": KindFacts(
            meaning="LiteLLM's error for a timeout, JSON with 408, after the image was charged", bills=True
        ),
        "error-in-200": KindFacts(meaning="an error, with the status 200", bills=False),
        "accepted": KindFacts(meaning="a task in place of the image, with 202", bills=True),
        "heartbeat": KindFacts(meaning="the JSON comes after 5 spaces, `seconds` apart", bills=True, seconds=True),
        "mid-upload": KindFacts(
            meaning="an error status while the request is still coming, and the connection is closed",
            bills=False,
            statuses=_REFUSALS,
            early=True,
        ),
        "stop-reading": KindFacts(
            meaning="an error status while the request is still coming, the rest of which is never read",
            bills=False,
            statuses=_REFUSALS,
            early=True,
        ),
        "keep-alive": KindFacts(
            meaning="the response says `Keep-Alive: timeout=1`, or `seconds`, after which the connection is closed",
            bills=True,
            seconds=True,
            usual=1.0,
        ),
    }
)

_Number = TypeVar("_Number", int, float)

_NUMBER = r"[0-9.]+(?:e[+-]?[0-9]+)?"
_TEXT = re.compile(
    rf"(?:(?P<code>[0-9]{{3}})|(?P<kind>[a-z0-9-]+)(?::(?P<status>[0-9]{{3}}))?)"
    rf"(?:=(?P<seconds>{_NUMBER}))?(?:\*(?P<times>[0-9]{{1,9}}))?(?:%(?P<percent>{_NUMBER}))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    Attributes:
        kind: the kind; `KINDS` has what each one does.
        status: the HTTP status of `status`, `html`, `redirect`, `mid-upload` and `stop-reading`; `None` for the
            kind's default.
        seconds: how long `delay` waits, how long `drip` and `heartbeat` wait between pieces, what `429`, `503`
            and `varnish-503` send as Retry-After, and for how long `keep-alive` keeps a connection.
        times: how many calls it applies to; `None` for all.
        percent: the percentage of calls it applies to, above 0 up to 100.

    Raises:
        ConfigurationError: the kind is unknown, or does not accept a value given.

    >>> str(Fault("status", status=503, seconds=2, times=1))
    '503=2*1'
    """

    kind: FaultKind
    status: int | None = field(default=None, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)
    times: int | None = field(default=None, kw_only=True)
    percent: float = field(default=100.0, kw_only=True)

    def __post_init__(self) -> None:
        wrong = [why for why in _wrong_with(self) if why]
        if wrong:
            raise ConfigurationError(f"no such fault: {'; '.join(wrong)}")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Parse a fault: `KIND[:STATUS][=SECONDS][*TIMES][%PERCENT]`.

        Raises:
            ConfigurationError: `text` is not a valid fault.

        >>> Fault.parse("429*2")
        Fault(kind='status', status=429, seconds=0.0, times=2, percent=100.0)
        """
        match = _TEXT.fullmatch(text.strip())
        said = match.groupdict() if match else {}
        if match is None or (said["kind"] or "status") not in KINDS:
            raise ConfigurationError(f"{text!r} is no fault; {_ALLOWED}")
        try:
            return cls(
                cast("FaultKind", said["kind"] or "status"),
                status=_or_none(int, said["code"] or said["status"]),
                seconds=_or_none(float, said["seconds"]) or 0.0,
                times=_or_none(int, said["times"]),
                percent=float(said["percent"] or 100.0),
            )
        except (ConfigurationError, ValueError) as error:
            raise ConfigurationError(f"{text!r} is no fault: {error}; {_ALLOWED}") from error

    def __str__(self) -> str:
        status = "" if self.status is None else f":{self.status}"
        seconds = f"={short(self.seconds)}" if self.seconds else ""
        times = "" if self.times is None else f"*{self.times}"
        percent = "" if self.percent == 100 else f"%{short(self.percent)}"
        name = str(self.status) if self.kind == "status" else f"{self.kind}{status}"
        return f"{name}{seconds}{times}{percent}"

    @property
    def time(self) -> float:
        """Its seconds, or else the default of its kind."""
        return self.seconds or self.facts.usual

    @property
    def facts(self) -> KindFacts:
        """The definition of its kind."""
        return KINDS[self.kind]


_TIMED = ", ".join(kind for kind, facts in KINDS.items() if facts.seconds and kind != "status")
_ALLOWED = (
    f"allowed: a status ({', '.join(map(str, _ERRORS))}), "
    f"{', '.join(kind for kind in KINDS if kind != 'status')}; each may go on with =SECONDS, *TIMES and %PERCENT, "
    "such as 429*2, 503=2*1, delay=0.5 or 500%5"
)


def _wrong_with(fault: Fault) -> Iterator[str | None]:
    facts = KINDS.get(fault.kind)
    if facts is None:
        yield f"kind {fault.kind!r}; allowed: {', '.join(KINDS)}"
        return
    yield _wrong_status(fault, facts)
    yield _wrong_seconds(fault, facts)
    if fault.times is not None and fault.times < 1:
        yield f"times {fault.times}; allowed: None, or 1 and more"
    if not 0 < fault.percent <= 100:
        yield f"percent {fault.percent:g}; allowed: above 0 to 100"


def _wrong_status(fault: Fault, facts: KindFacts) -> str | None:
    if fault.status is None:
        return "status needs its number, such as 429" if fault.kind == "status" else None
    if fault.status in facts.statuses:
        return None
    allowed = ", ".join(map(str, facts.statuses)) or "none for this kind"
    return f"status {fault.status}; allowed: {allowed}"


def _wrong_seconds(fault: Fault, facts: KindFacts) -> str | None:
    if not math.isfinite(fault.seconds) or fault.seconds < 0:
        return f"seconds {fault.seconds:g}; allowed: 0 and more"
    if fault.kind == "delay" and not fault.seconds:
        return "delay needs its seconds, such as delay=0.5"
    takes_none = not facts.seconds or (fault.kind == "status" and fault.status not in _WAITABLE)
    return f"seconds; only {_TIMED}, 429 and 503 take them" if fault.seconds and takes_none else None


def short(number: float) -> str:
    """Format a number as faults write it: `2`, `0.5`."""
    return repr(float(number)).removesuffix(".0")


def _or_none(read: Callable[[str], _Number], text: str | None) -> _Number | None:
    return None if text is None else read(text)


class Scenario:
    """Choose the fault, if any, for each call; safe to use from several threads.

    It is the first fault that is not used up and whose percentage is drawn.

    Args:
        faults: the faults in order; text is parsed by `Fault.parse`.
        seed: the seed of the random numbers for percentages, so that a scenario repeats.

    Raises:
        ConfigurationError: a text is not a valid fault.

    >>> scenario = Scenario("429*2", "delay=0.5*1")
    >>> [str(scenario.next_fault()) for _ in range(4)]
    ['429*2', '429*2', 'delay=0.5*1', 'None']
    """

    def __init__(self, *faults: Fault | str, seed: int = 0) -> None:
        self.faults = tuple(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults)
        self.seed = seed
        self._met = [0] * len(faults)
        self._random = random.Random(seed)  # noqa: S311 - has to repeat, not to be secret
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        faults = "".join(f"{str(fault)!r}, " for fault in self.faults)
        return f"Scenario({faults}seed={self.seed})"

    def next_fault(self) -> Fault | None:
        """Return and use up the fault of the next call; `None` if it has none."""
        with self._lock:
            for index, fault in enumerate(self.faults):
                if fault.times is not None and self._met[index] >= fault.times:
                    continue
                if self._random.random() * 100 < fault.percent:
                    self._met[index] += 1
                    return fault
        return None
