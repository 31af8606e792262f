"""`client.server`: the profile of the server, and a way to find out which server it really is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from .._call.caller import Caller
from .._call.options import Options
from .._core.errors import StepFunError
from .._core.keywords import unknown_keywords
from .._core.wire import HTTPResponse
from .._runtime.tracebacks import without_frames
from .signatures import shown

if TYPE_CHECKING:
    from .._core.inspection import ServerReport
    from .._core.params import Nothing
    from .._core.profiles import Server


class AsyncServer:
    """The server that a client talks to."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    @property
    def profile(self) -> Server:
        """The profile by which requests are checked and sent."""
        return self._service.config.server

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name

    @shown
    async def inspect(self, *, timeout: float | None = None, **unknown: Unpack[Nothing]) -> ServerReport:
        """Return what the server is, as its responses to a few GETs show. Nothing is made, and nothing billed.

        It gets the list of models, the account, and the endpoints of images, which only take POST.

        Args:
            timeout: seconds for each GET; by default the client's.

        Returns:
            The report; `print(report)` shows it for people.

        Raises:
            APIConnectionError: the server cannot be reached.
        """
        from .._core.inspection import PROBES, report_of  # which only this method needs

        if unknown:
            raise unknown_keywords("server.inspect()", unknown, ("timeout",))
        config, options = self._service.config, Options(timeout=timeout)
        try:
            responses = {path: await self._service.fetch("inspect", path, _as_it_is, options) for path in PROBES}
        except StepFunError as error:
            raise without_frames(error) from error.__cause__
        return report_of(responses, base_url=config.base_url, configured=config.server, hosted=config.hosted)


def _as_it_is(response: HTTPResponse, *, now: float) -> HTTPResponse:
    """A response, whatever its status is."""
    return response.whole()
