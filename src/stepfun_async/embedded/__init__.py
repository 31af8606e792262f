"""A stand-in for StepFun's image service, for development and tests, without network or cost.

`Engine` answers the same `HTTPRequest`s as the service, with real images of the right size; `EmbeddedTransport` plugs
it into a client, `stepfun_async.embedded.server` puts it behind HTTP, and `Scenario` makes it fail in the ways the
real service fails. `use` chooses the engine of all embedded clients, and `Log` records the requests it received;
`stepfun_async.testing` builds on both. May import `_core` and `_runtime`.
"""

from __future__ import annotations

from importlib.util import find_spec

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.server import EMBEDDED

from .billing import Bill
from .call_log import ImageCall, Log
from .default_engine import in_use, use
from .engine import Engine, Mount
from .faults import Fault, Scenario
from .transport import NO_MODEL, EmbeddedTransport

__all__ = [
    "Bill",
    "EmbeddedTransport",
    "Engine",
    "Fault",
    "ImageCall",
    "Log",
    "Mount",
    "Scenario",
    "check_available",
    "check_server_available",
    "in_use",
    "transport_to",
    "use",
]


def transport_to(base_url: str) -> EmbeddedTransport:
    """Return the transport of a client that names no other.

    Args:
        base_url: `embedded` or `diffusers`.

    Raises:
        ConfigurationError: the engine cannot draw, or there is no `DiffusersEngine`.
    """
    if in_use(base_url) is None:
        if base_url != EMBEDDED:
            raise ConfigurationError(NO_MODEL)
        check_available()
    return EmbeddedTransport(base_url=base_url)


def check_available() -> None:
    """Check that the engine can draw.

    Raises:
        ConfigurationError: Pillow is not installed.
    """
    _check(("PIL",), "the embedded engine", "embedded")


def check_server_available() -> None:
    """Check that the engine can be served over HTTP.

    Raises:
        ConfigurationError: Pillow, starlette, uvicorn or python-multipart is not installed.
    """
    _check(("PIL", "starlette", "uvicorn", "python_multipart"), "the embedded server", "cli")


def _check(modules: tuple[str, ...], what: str, extra: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f'{what} needs {", ".join(missing)}: pip install "stepfun-async[{extra}]"')
