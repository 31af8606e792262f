"""`Client`: the async client's methods without `await`, run in a background event loop that all threads share."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

from .._call.blocking import BlockingCaller
from .._call.service import DEFAULT_LIMITS, DEFAULT_RETRY, caller_for
from .._call.settings import Validation, hidden_headers, hidden_url
from .._core.keywords import CLIENT_KEYWORDS, unknown_keywords
from .._core.results import Usage
from .._core.retry import RetryPolicy
from .._core.secrets import as_secret
from .._limits.budget import Budget
from .._limits.limits import Limits
from .client import unpicklable
from .images import AsyncImages
from .models import AsyncAccount, AsyncModels
from .server import AsyncServer
from .signatures import blocking, parameters_of, shown

if TYPE_CHECKING:
    from types import TracebackType

    from .._call.outcomes import Outcome
    from .._core.events import OnEvent
    from .._core.params import Nothing
    from .._core.profiles import Server
    from .._core.requests import ImageRequest
    from .._transport import AnyTransport


class Client:
    """StepFun's image API for code without an event loop.

    Works in scripts, threads, notebooks, inside a running loop (which it blocks), after a fork, with
    `with Client() as client` or without. All threads share one background loop, one set of connections
    and one set of limits. The loop starts with the first call; it ends with `close()`, when the client
    is garbage collected, or with the interpreter.

    Args:
        api_key: the API key; by default `STEP_API_KEY` or `STEPFUN_API_KEY`. Not needed for `embedded`.
        base_url: the URL of the API; by default `STEP_BASE_URL`, or else `https://api.stepfun.ai/v1`.
            `embedded` answers inside this process, offline, at no cost.
        server: the kind of server at `base_url`, one of `servers()`, such as `vllm-omni`; by default `STEP_SERVER`,
            or else derived from the URL. Requests are checked for this server, and sent in its form.
        limits: the maximum number of calls in flight, 5 by default, and of requests per minute.
            Clients with the same `Limits` object share it; clients without one share nothing.
        timeout: seconds for everything after a call has its slot; `math.inf` for no limit.
            It covers all attempts, the waits between them, download and decoding.
        queue_timeout: seconds to wait for a slot; `None` for no limit.
        retry: when to retry an attempt; by default up to 3 attempts, and only where none can have been billed.
        budget: the most that may be spent by all clients with the same `Budget`; `None` for no limit.
            The price is reserved before a request is sent.
        validation: `strict` rejects what the model tables do not allow; `off` sends requests as given.
        default_headers: headers sent with every request to the API, but never to the URLs of images.
        transport: the transport to send requests with: an `httpx.AsyncBaseTransport`, or an `EmbeddedTransport`.
        proxy: the URL of an HTTP or SOCKS proxy; by default as the environment says.
            It says so in `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; this machine itself is reached without a proxy.
        allow_http: allow sending the API key to another machine over unencrypted HTTP.
        keepalive_expiry: the maximum seconds to keep an idle connection; 0 for a new one each time.
            `None` keeps it until a second before the server closes it, by its `Keep-Alive: timeout=`, and for
            1.5 seconds without that header, since some servers close theirs after 2. No value keeps it longer than
            the server announces.
        on_event: a synchronous callback, called with every `CallStarted`, `AttemptEnded` and `CallEnded` event.

    Raises:
        ConfigurationError: a setting is invalid; the message says which one and what to do.
    """

    images: Images
    """`generate`, `edit`, `image_to_image`, `download` and `map`."""
    models: Models
    """`list` and `retrieve`."""
    account: AccountOf
    """`retrieve`."""
    server: ServerOf
    """`profile`, `name` and `inspect`."""

    @shown
    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        server: str | Server | None = None,
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
        **unknown: Unpack[Nothing],
    ) -> None:
        if unknown:
            raise unknown_keywords("Client()", unknown, parameters_of(Client.__init__), CLIENT_KEYWORDS)
        # Hide them from tools that show the variables of a traceback's frames:
        api_key, base_url, proxy = as_secret(api_key), hidden_url(base_url), as_secret(proxy)
        default_headers = hidden_headers(default_headers)
        service = caller_for(
            api_key,
            base_url=base_url,
            server=server,
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
        self.server = ServerOf(self._bridge)

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


class Images:
    """Generate, edit and download images, one or many."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._bridge = bridge
        self._methods = AsyncImages(bridge.service)

    @blocking(AsyncImages.generate)
    def generate(self, *args: Any, **options: Any) -> Any:
        """Generate an image from a text prompt.

        `capabilities(model)` and the documentation's table of models list the parameters of each model, with their
        ranges, defaults and sources. A parameter that the model does not have is refused before anything is sent.

        Args:
            prompt: what the image shows: 1 to 512 characters (code points).
            model: the model to use; `CustomModel(name)` for a name outside the tables.
            size: `Size(width=, height=)` in pixels, an aspect ratio such as `"16:9"` (width to height), or the
                wire string exactly as StepFun documents it for the model: HEIGHTxWIDTH for `step-image-edit-2`,
                WIDTHxHEIGHT for the others. `None` lets the server choose.
            n: the number of images; StepFun's models make one.
            response_format: `b64_json` returns the image itself, `url` a link that expires.
            seed: 0 to 2147483647; the same seed and parameters give similar images. `None`, and for some models
                0, is random.
            steps: denoising steps, 1 to 50; more are slower and finer. `None` for the server's default.
            cfg_scale: how closely to follow the prompt, 1.0 to 10.0. `None` for the server's default.
            negative_prompt: what the image should not show, for `step-image-edit-2`; needs `cfg_scale` above 1.0.
            text_mode: improve lettering inside the image, for `step-image-edit-2`.
            style_reference: `{"source_url": image, "weight": number}`, for `step-1x-medium`: the image whose style to
                apply (anything that `edit` takes, or a link), and how strongly, above 0 to 2.0.
            save_to: the file to write the image to, while it arrives; a directory is refused. Without an
                extension it gets the actual format's. The response's `Image` then has a `path`, and no `data`.
            overwrite: replace an existing file at `save_to`.
            timeout: seconds for everything after the call has its slot; `None` for the client's.
            queue_timeout: seconds to wait for a slot; `None` for the client's.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            InvalidRequestError: the request is invalid; `.problems` lists every problem. Nothing was sent.
            BudgetExceededError: the price does not fit into the budget; nothing was sent.
            QueueTimeoutError: no slot became free in time; nothing was sent.
            APIError: there was no usable response; `.billing` says whether it may have been billed.
            ContentFilteredError: only with `save_to`: the image was withheld (otherwise `.image` raises it).
            SaveError: the image was made, but not written; `.response` has it, in memory.
        """

    @blocking(AsyncImages.edit)
    def edit(self, *args: Any, **options: Any) -> Any:
        """Edit an image as the prompt says.

        `capabilities(model)` lists the parameters of each model, with their ranges, defaults and sources.

        Args:
            image: a path, bytes, a binary file object, a PIL image, an `Image` of an earlier response, or a data URI.
                Its type is detected from its bytes; type, pixels and ratio are checked before anything is sent. A
                file is streamed from disk.
            prompt: what to change: 1 to 512 characters (code points).
            model: the model to use; `CustomModel(name)` for a name outside the tables.
            size: for `step-1x-edit`: `Size(width=, height=)` in pixels, an aspect ratio or a wire string.
                `step-image-edit-2` keeps the image's size.
            n: the number of images; StepFun's models make one, and do not take it here.
            response_format: `b64_json` returns the image itself, `url` a link that expires.
            seed: 0 to 2147483647; the same seed and parameters give similar images. `None`, and for some models
                0, is random.
            steps: denoising steps, 1 to 50; more are slower and finer. `None` for the server's default.
            cfg_scale: how closely to follow the prompt, 1.0 to 10.0. `None` for the server's default.
            negative_prompt: what the image should not show, for `step-image-edit-2`; needs `cfg_scale` above 1.0.
            text_mode: improve lettering inside the image, for `step-image-edit-2`.
            save_to: the file to write the image to, while it arrives; a directory is refused. Without an
                extension it gets the actual format's. The response's `Image` then has a `path`, and no `data`.
            overwrite: replace an existing file at `save_to`.
            timeout: seconds for everything after the call has its slot; `None` for the client's.
            queue_timeout: seconds to wait for a slot; `None` for the client's.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            StepFunError: as `generate` does.
        """

    @blocking(AsyncImages.image_to_image)
    def image_to_image(self, *args: Any, **options: Any) -> Any:
        """Generate a new image from an existing one.

        `capabilities(model)` lists the parameters of each model, with their ranges, defaults and sources.

        Args:
            image: what `edit` takes, or an http(s) link that the server can reach.
            prompt: what the new image shows: 1 to 1024 characters (code points).
            source_weight: above 0 to 1.0; smaller is closer to the source.
            model: the model to use; `CustomModel(name)` for a name outside the tables.
            size: `Size(width=, height=)` in pixels, an aspect ratio such as `"16:10"`, or a wire string (WIDTHxHEIGHT).
                `None` lets the server choose.
            n: the number of images; StepFun's models make one.
            response_format: `b64_json` returns the image itself, `url` a link that expires.
            seed: 1 to 2147483647; the same seed and parameters give similar images. `None` and 0 are random.
            steps: denoising steps, 1 to 100; more are slower and finer. `None` for the server's default.
            cfg_scale: how closely to follow the prompt, 1.0 to 10.0. `None` for the server's default.
            save_to: the file to write the image to, while it arrives; a directory is refused. Without an
                extension it gets the actual format's. The response's `Image` then has a `path`, and no `data`.
            overwrite: replace an existing file at `save_to`.
            timeout: seconds for everything after the call has its slot; `None` for the client's.
            queue_timeout: seconds to wait for a slot; `None` for the client's.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            StepFunError: as `generate` does.
        """

    @blocking(AsyncImages.download)
    def download(self, *args: Any, **options: Any) -> Any:
        """Download the image behind a link. The API key is never sent there.

        Links to addresses that are not public are refused, unless the API itself is at one.

        Args:
            image: an `Image` requested with `response_format="url"`, or the link itself.
            save_to: the file to write it to, while it arrives; a directory is refused. Without an extension it gets
                the actual format's.
            overwrite: replace an existing file at `save_to`.
            timeout: seconds for everything after the call has its slot; `None` for the client's.
            queue_timeout: seconds to wait for a slot; `None` for the client's.

        Returns:
            The `Image` with its format and size, and its bytes in `data`. With `save_to` they are only in the
            file at `path`, from which `to_bytes()` and the like read them.

        Raises:
            InvalidRequestError: `image` has no link, or `save_to` cannot be written; nothing was sent.
            NotFoundError: the link has expired.
            MalformedResponseError: the link does not lead to an image.
            SaveError: the image was downloaded, but not written.
            APIConnectionError: the link leads to a refused address, or the response was incomplete.
            APIError: there was no usable response.
        """

    @shown
    def map(
        self,
        requests: Iterable[ImageRequest | str],
        *,
        ordered: bool = False,
        progress: bool = False,
        **unknown: Unpack[Nothing],
    ) -> Generator[Outcome, None, None]:
        """Send many requests, as many at once as the limits allow, and yield each as it ends.

        Requests are taken from `requests` only when one can be sent, in the caller's thread, so a generator of a
        million costs no memory. A request that fails does not stop the others. `close()` on the iterator cancels the
        calls in flight and waits until they have ended; dropping the iterator cancels them without a wait.

        Args:
            requests: `TextToImage`, `ImageEdit` and `ImageToImage` values; text is the prompt of a `TextToImage`.
            ordered: yield outcomes in the order of the requests instead of the order in which they end.
            progress: show the progress, such as `24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 48 s left`: on a
                terminal as a line on stderr that is updated in place, in a notebook as a bar in the cell, and elsewhere
                as a line every ten seconds.

        Returns:
            An iterator over `Finished(request, response)` and `Failed(request, error)`.

        Raises:
            InvalidRequestError: `requests` is not an iterable. A request that is invalid is a `Failed` instead.
        """
        if unknown:
            raise unknown_keywords("images.map()", unknown, parameters_of(Images.map))
        return self._bridge.map(requests, ordered=ordered, progress=progress)


class Models:
    """The server's models."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._bridge = bridge
        self._methods = AsyncModels(bridge.service)

    @blocking(AsyncModels.list)
    def list(self, *args: Any, **options: Any) -> Any:
        """List the models of the server.

        Args:
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The models, in the server's order.

        Raises:
            APIError: there was no usable response.
        """

    @blocking(AsyncModels.retrieve)
    def retrieve(self, *args: Any, **options: Any) -> Any:
        """Return one model.

        Args:
            model: its name.
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The model as the server describes it.

        Raises:
            InvalidRequestError: `model` is not a valid name; nothing was sent.
            NotFoundError: the server has no such model.
            APIError: there was no usable response.
        """


class ServerOf:
    """The server that a client talks to."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._bridge = bridge
        self._methods = AsyncServer(bridge.service)

    @property
    def profile(self) -> Server:
        """The profile by which requests are checked and sent."""
        return self._methods.profile

    @property
    def name(self) -> str:
        """The profile's name."""
        return self._methods.name

    @blocking(AsyncServer.inspect)
    def inspect(self, *args: Any, **options: Any) -> Any:
        """Return what the server is, as its responses to a few GETs show. Nothing is made, and nothing billed.

        It gets the list of models, the account, and the endpoints of images, which only take POST.

        Args:
            timeout: seconds for each GET; by default the client's.

        Returns:
            The report; `print(report)` shows it for people.

        Raises:
            APIConnectionError: the server cannot be reached.
        """


class AccountOf:
    """The account behind the key."""

    def __init__(self, bridge: BlockingCaller) -> None:
        self._bridge = bridge
        self._methods = AsyncAccount(bridge.service)

    @blocking(AsyncAccount.retrieve)
    def retrieve(self, *args: Any, **options: Any) -> Any:
        """Return the account and its balance.

        Args:
            timeout: seconds for the whole call; `None` for the client's.

        Returns:
            The account, in the currency of its region.

        Raises:
            APIError: there was no usable response.
        """
