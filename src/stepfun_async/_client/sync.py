"""`Client`: the async client's methods without `await`, run in a background event loop that all threads share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, Unpack, overload

from .._call.blocking import BlockingCaller
from .._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, caller_for
from .._call.settings import Validation, hidden_headers, hidden_url
from .._core.results import Account, Image, ImagesResponse, Model, SaveTo, Usage
from .._core.retry import RetryPolicy
from .._core.secrets import as_secret
from .._limits.budget import Budget
from .._limits.limits import Limits
from .client import unpicklable
from .images import AsyncImages, ImageMethods
from .models import AccountMethods, AsyncAccount, AsyncModels, ModelMethods

if TYPE_CHECKING:
    from types import TracebackType

    from .._call.fan_out import Outcome
    from .._core.capabilities import CustomModel
    from .._core.events import OnEvent
    from .._core.params import (
        CustomEdit,
        CustomGenerate,
        CustomImageToImage,
        Edit1xEdit,
        Edit2Edit,
        Edit2Generate,
        LargeGenerate,
        MediumGenerate,
        StepImageToImage,
    )
    from .._core.requests import ImageRequest, PictureInput
    from .._transport import AnyTransport

F = TypeVar("F", bound=Callable[..., Any])


def _signed_as(method: Callable[..., Any]) -> Callable[[F], F]:
    """Show the signature of the async method at run time, as notebooks do; editors read the overloads."""

    def sign(function: F) -> F:
        function.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
        return function

    return sign


class Client:
    """StepFun's image API for code without an event loop.

    Works in scripts, threads, notebooks, inside a running loop (which it blocks), after a fork, with
    `with Client() as client` or without. All threads share one background loop, one set of connections
    and one set of limits. The loop starts with the first call; it ends with `close()`, when the client
    is garbage collected, or with the interpreter.

    Args and errors are those of `AsyncClient`.
    """

    images: Images
    """`generate`, `edit`, `image_to_image`, `download` and `map`."""
    models: Models
    """`list` and `retrieve`."""
    account: AccountOf
    """`retrieve`."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        timeout: float = 120.0,
        queue_timeout: float | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        budget: Budget | None = None,
        validation: Validation = "strict",
        default_headers: Mapping[str, str] | None = None,
        transport: AnyTransport | None = None,
        proxy: str | None = None,
        allow_http: bool = False,
        keepalive_expiry: float | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        # Hide them from tools that show the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        service = caller_for(
            api_key,
            base_url=base_url,
            limits=limits,
            timeout=timeout,
            queue_timeout=queue_timeout,
            retry=retry,
            budget=budget,
            validation=validation,
            default_headers=default_headers,
            transport=transport,
            proxy=proxy,
            allow_http=allow_http,
            keepalive_expiry=keepalive_expiry,
            on_event=on_event,
        )
        self._bridge = BlockingCaller(service)
        self.images = Images(self._bridge)
        self.models = Models(self._bridge)
        self.account = AccountOf(self._bridge)

    @property
    def base_url(self) -> str:
        """The URL of the API."""
        return self._bridge.service.config.base_url

    @property
    def limits(self) -> Limits:
        """The maximum number of calls in flight, and of requests per minute."""
        return self._bridge.service.limits

    @property
    def budget(self) -> Budget | None:
        """The most that may be spent; `None` for no limit."""
        return self._bridge.service.budget

    @property
    def usage(self) -> Usage:
        """Totals of this client's calls so far."""
        return self._bridge.service.ledger.snapshot()

    def __enter__(self) -> Self:
        self._bridge.service.refuse_if_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the background loop. Closing again does nothing."""
        self._bridge.close()

    def __reduce__(self) -> NoReturn:
        raise unpicklable(self)

    def __repr__(self) -> str:
        service = getattr(getattr(self, "_bridge", None), "service", None)  # as in `AsyncClient`
        return f"<{type(self).__name__} {service!r}>"


def _hide_headers(options: dict[str, Any]) -> None:
    """Hide the values of headers from tools that show the variables of a traceback's frames."""
    if "extra_headers" in options:
        options["extra_headers"] = hidden_headers(options["extra_headers"])


class Images(ImageMethods):
    """Generate, edit and download images, one or many."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._images = AsyncImages(bridge.service)
        self._bridge = bridge

    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-image-edit-2"] = ..., **options: Unpack[Edit2Generate]
    ) -> ImagesResponse: ...
    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-2x-large"], **options: Unpack[LargeGenerate]
    ) -> ImagesResponse: ...
    @overload
    def generate(
        self, prompt: str, *, model: Literal["step-1x-medium"], **options: Unpack[MediumGenerate]
    ) -> ImagesResponse: ...
    @overload
    def generate(self, prompt: str, *, model: CustomModel, **options: Unpack[CustomGenerate]) -> ImagesResponse: ...
    @_signed_as(AsyncImages.generate)
    def generate(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.generate, *args, **options)

    @overload
    def edit(
        self,
        image: PictureInput,
        prompt: str,
        *,
        model: Literal["step-image-edit-2"] = ...,
        **options: Unpack[Edit2Edit],
    ) -> ImagesResponse: ...
    @overload
    def edit(
        self, image: PictureInput, prompt: str, *, model: Literal["step-1x-edit"], **options: Unpack[Edit1xEdit]
    ) -> ImagesResponse: ...
    @overload
    def edit(
        self, image: PictureInput, prompt: str, *, model: CustomModel, **options: Unpack[CustomEdit]
    ) -> ImagesResponse: ...
    @_signed_as(AsyncImages.edit)
    def edit(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.edit, *args, **options)

    @overload
    def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: Literal["step-2x-large", "step-1x-medium"] = ...,
        **options: Unpack[StepImageToImage],
    ) -> ImagesResponse: ...
    @overload
    def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: CustomModel,
        **options: Unpack[CustomImageToImage],
    ) -> ImagesResponse: ...
    @_signed_as(AsyncImages.image_to_image)
    def image_to_image(self, *args: Any, **options: Any) -> ImagesResponse:
        _hide_headers(options)
        return self._bridge.run(self._images.image_to_image, *args, **options)

    def download(
        self,
        image: Image | str,
        *,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
    ) -> Image:
        waits = {"timeout": timeout, "queue_timeout": queue_timeout}
        return self._bridge.run(self._images.download, image, save_to=save_to, overwrite=overwrite, **waits)

    def map(self, requests: Iterable[ImageRequest], *, ordered: bool = False) -> Generator[Outcome, None, None]:
        """Send many requests, as many at once as the limits allow, and yield each as it ends.

        The iterable is read in the caller's thread, and only as there is room. `close()` on the iterator cancels the
        calls in flight and waits until they have ended; dropping the iterator cancels them without a wait. See
        `AsyncImages.map`.
        """
        return self._bridge.map(requests, ordered=ordered)


class Models(ModelMethods):
    """The server's models."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._models = AsyncModels(bridge.service)
        self._bridge = bridge

    def list(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        return self._bridge.run(self._models.list, timeout=timeout)

    def retrieve(self, model: str, *, timeout: float | None = None) -> Model:
        return self._bridge.run(self._models.retrieve, model, timeout=timeout)


class AccountOf(AccountMethods):
    """The account behind the key."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._account = AsyncAccount(bridge.service)
        self._bridge = bridge

    def retrieve(self, *, timeout: float | None = None) -> Account:
        return self._bridge.run(self._account.retrieve, timeout=timeout)
