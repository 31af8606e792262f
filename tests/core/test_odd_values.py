"""Whatever stands in a request: it is a problem or an error of ours, and never what the value itself raises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import (
    AsyncClient,
    Budget,
    Client,
    ImageEdit,
    ImageToImage,
    Limits,
    RetryPolicy,
    StepFunError,
    TextToImage,
)
from stepfun_async._core.requests import ImageRequest
from stepfun_async.embedded import EmbeddedTransport, Engine


class OddError(Exception):
    def __str__(self) -> str:
        raise self


def _raise(*_: object, **__: object) -> Any:
    raise OddError


_METHODS = (
    *("__repr__", "__str__", "__format__", "__hash__", "__bool__", "__int__", "__float__", "__index__", "__fspath__"),
    *("__eq__", "__lt__", "__gt__", "__le__", "__ge__", "__len__", "__iter__", "__getitem__", "__contains__"),
    *("__getattr__", "keys", "items", "get", "read"),
)
RAISES = dict.fromkeys(_METHODS, _raise)
Raises = type("Raises", (), RAISES)
RaisingText = type("RaisingText", (str,), RAISES)
RaisingWhole = type("RaisingWhole", (int,), RAISES)
RaisingReal = type("RaisingReal", (float,), RAISES)
RaisingBytes = type("RaisingBytes", (bytes,), RAISES)
RaisingList = type("RaisingList", (list,), RAISES)
RaisingDict = type("RaisingDict", (dict,), RAISES)
RaisingPath = type("RaisingPath", (), {"__fspath__": _raise})
Liar = type("Liar", (), {"__class__": property(_raise)})


class Endless(Mapping[str, Any]):
    """A mapping that says it has what it has not."""

    def __getitem__(self, key: str) -> Any:
        raise OddError

    def __iter__(self) -> Iterator[str]:
        yield "source_url"
        raise OddError

    def __len__(self) -> int:
        return 1


class ReadsOdd:
    def read(self, size: int) -> bytes:
        raise OddError


def deep(kind: type) -> Any:
    value: Any = kind()
    for _ in range(50_000):
        value = [value] if kind is list else {"a": value}
    return value


def loop() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


VALUES: dict[str, Any] = {
    "a number of thousands of digits": 10**6000,
    "its negative": -(10**6000),
    "a fraction of thousands of digits": Fraction(10**6000, 3),
    "a list with such a number": [10**6000],
    "a mapping with such a number": {"source_url": 10**6000, "weight": 10**6000},
    "a signalling NaN": Decimal("sNaN"),
    "a huge decimal": Decimal("1E+999999"),
    "deep lists": deep(list),
    "deep mappings": deep(dict),
    "a list in itself": loop(),
    "half a surrogate pair": "\ud83d",
    "NUL": "\0",
    "escapes": "\x1b[2J\u202e\n",
    "a type": Raises,
    "a mapping of odd keys": {5: 1, None: 2, (1, 2): 3},
    "no mapping": Endless(),
    "a file object": ReadsOdd(),
    "a released view": memoryview(b"abc"),
    "a raising object": Raises(),
    "a raising text": RaisingText("a lake"),
    "a raising whole number": RaisingWhole(5),
    "a raising number": RaisingReal(0.5),
    "raising bytes": RaisingBytes(b"abc"),
    "a raising list": RaisingList([1]),
    "a raising mapping": RaisingDict({"source_url": 1}),
    "a raising path": RaisingPath(),
    "an object without a class": Liar(),
}
VALUES["a released view"].release()
VALUES.update(
    {f"a mapping with {name}": {"source_url": value, "weight": value} for name, value in list(VALUES.items())}
)

FIELDS: dict[type[ImageRequest], tuple[str, ...]] = {
    kind: (*(name for name in kind.model_fields), "unheard_of") for kind in (TextToImage, ImageEdit, ImageToImage)
}
ASKED = [(kind, field) for kind, fields in FIELDS.items() for field in fields]
PNG = Engine(plain=True)


def judged(request: ImageRequest) -> None:
    """Ask everything that can be asked offline."""
    problems = request.problems()
    for problem in problems:
        assert str(problem).isprintable() or "\u3000" in str(problem)
        json.dumps(problem.given)
        repr(problem)
    request.notices()
    request.price()
    repr(request)
    for ask in (request.fingerprint, request.to_call):
        try:
            ask()
        except StepFunError as error:
            str(error)


@pytest.mark.parametrize(("kind", "field"), ASKED, ids=lambda part: getattr(part, "__name__", part))
def test_a_request_with_an_odd_value_is_judged(kind: type[ImageRequest], field: str) -> None:
    for value in VALUES.values():
        for model in ("step-image-edit-2", "step-1x-medium"):
            judged(kind(**{"prompt": "a lake", "model": model, field: value}))


@pytest.mark.filterwarnings("ignore::stepfun_async.StepFunWarning")
@pytest.mark.parametrize("validation", ["strict", "off"])
@pytest.mark.parametrize(("kind", "field"), ASKED, ids=lambda part: getattr(part, "__name__", part))
def test_a_client_asked_for_an_odd_value_raises_an_error_of_ours(
    kind: type[ImageRequest], field: str, validation: Any
) -> None:
    engine = Engine(plain=True)
    events: list[str] = []
    with Client(
        base_url="embedded",
        transport=EmbeddedTransport(engine),
        validation=validation,
        on_event=lambda event: events.append(repr(event)),
    ) as client:
        requests = [kind(**{"prompt": "a lake", field: value}) for value in VALUES.values()]
        for done in client.images.map(requests):
            error = getattr(done, "error", None)
            if error is not None and not isinstance(error, StepFunError):
                raise error
        assert client.usage.billed == engine.bill().images


_NUMBERS_AND_TEXTS = (Liar, RaisingText, RaisingWhole, RaisingReal)  # which nobody gives as settings
SETTABLE = {name: value for name, value in VALUES.items() if type(value) not in _NUMBERS_AND_TEXTS}
SETTINGS = [
    *("api_key", "base_url", "limits", "timeout", "queue_timeout", "retry", "budget", "validation", "default_headers"),
    *("proxy", "allow_http", "on_event"),
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_odd_setting_is_refused_with_an_error_of_ours(setting: str) -> None:
    for value in SETTABLE.values():
        options: dict[str, Any] = {"api_key": "sk-test", "base_url": "https://stepfun.test/v1", setting: value}
        with suppress(StepFunError):
            AsyncClient(**options)


MAKERS: list[tuple[Callable[..., object], str]] = [
    *((Limits, name) for name in ("max_concurrency", "requests_per_minute", "adaptive")),
    *((RetryPolicy, name) for name in ("max_attempts", "base", "cap", "quota")),
    (partial(Budget, 1), "currency"),
    (Budget, "limit"),
    (lambda **prices: Budget(1, prices=prices), "model"),
]


@pytest.mark.parametrize(("make", "name"), MAKERS, ids=[name for _, name in MAKERS])
def test_an_odd_part_of_a_setting_is_refused_with_an_error_of_ours(make: Callable[..., object], name: str) -> None:
    for value in SETTABLE.values():
        with suppress(StepFunError):
            make(**{name: value})


@pytest.mark.parametrize("option", ["save_to", "overwrite", "timeout", "queue_timeout", "extra_headers"])
def test_an_odd_option_is_refused_with_an_error_of_ours(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    engine = Engine(plain=True)
    with Client(base_url="embedded", transport=EmbeddedTransport(engine)) as client:
        for value in SETTABLE.values():
            with suppress(StepFunError):
                client.images.generate("a lake", **{option: value})
        assert client.usage.billed == engine.bill().images
