"""The clients compared: one small adapter each, all doing the same jobs.

A job is a method, and is named by the cases:

* `generate`: ask for a picture, end with its bytes in memory
* `save`: the same, end with a file on disk
* `link`, `save_link`: the same, where the answer is a link to fetch
* `edit`: send a picture, end with the bytes of the new one

Each client is set up as somebody who knows it well would do it: room for as many connections as
calls in flight, no retries, no timeouts shorter than the run. Every adapter imports its package
when it is made, so that a process pays for one client only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from .cases import BEFORE

PROMPT = "A serene alpine lake at sunset, mirror reflection"
MODEL = "step-image-edit-2"
KEY = "sk-benchmark"
BODY = {"model": MODEL, "prompt": PROMPT, "size": "1024x1024", "response_format": "b64_json", "seed": 1, "steps": 8}


@dataclass(frozen=True)
class Target:
    """What a client works against.

    Attributes:
        url: the base URL, with `/v1`.
        in_flight: calls at once.
        folder: where files go.
        upload: the picture to send.
    """

    url: str
    in_flight: int = 1
    folder: str = "."
    upload: bytes = field(default=b"", repr=False)

    def file(self, worker: int) -> Path:
        """Where a worker saves its pictures, one over the other."""
        return Path(self.folder) / f"{worker}.png"


class Peer:
    """A client to await.

    Every job takes the number of its worker, from 0: calls of one worker come one after another.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    async def open(self) -> None:
        """What is to be done in the event loop before the first call."""

    async def generate(self, worker: int) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} does not say how it generates an image")

    async def link(self, worker: int) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} cannot download a link: leave it out of cases with links")

    async def edit(self, worker: int) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} cannot edit: leave it out of cases with edits")

    async def save(self, worker: int) -> None:
        self.target.file(worker).write_bytes(await self.generate(worker))

    async def save_link(self, worker: int) -> None:
        self.target.file(worker).write_bytes(await self.link(worker))


class Ours(Peer):
    """stepfun-async."""

    http2 = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from stepfun_async import AsyncClient, Limits

        limits = Limits(max_concurrency=target.in_flight)
        transport = _http2_transport() if self.http2 else None
        self.client = AsyncClient(KEY, base_url=target.url, limits=limits, transport=transport)

    async def generate(self, worker: int) -> bytes:
        response = await self.client.images.generate(PROMPT, size="1024x1024", seed=1, steps=8)
        return response.image.to_bytes()

    async def save(self, worker: int) -> None:
        path = self.target.file(worker)
        await self.client.images.generate(PROMPT, size="1024x1024", seed=1, steps=8, save_to=path, overwrite=True)

    async def link(self, worker: int) -> bytes:
        image = (await self._linked()).image
        return (await self.client.images.download(image)).to_bytes()

    async def save_link(self, worker: int) -> None:
        image = (await self._linked()).image
        await self.client.images.download(image, save_to=self.target.file(worker), overwrite=True)

    def _linked(self) -> Awaitable[Any]:
        return self.client.images.generate(PROMPT, size="1024x1024", seed=1, steps=8, response_format="url")

    async def edit(self, worker: int) -> bytes:
        return (await self.client.images.edit(self.target.upload, PROMPT)).image.to_bytes()


def _http2_transport() -> Any:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncHTTPTransport(verify=ssl.create_default_context(), http2=True, limits=limits)


class OursHttp2(Ours):
    """stepfun-async on a transport that speaks HTTP/2."""

    http2 = True


class Httpx(Peer):
    """httpx, the status checked, the rest by hand."""

    kept: int | None = None
    http2 = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.kept)
        headers = {"authorization": f"Bearer {KEY}"}
        self.client = httpx.AsyncClient(headers=headers, limits=limits, timeout=None, http2=self.http2)

    async def generate(self, worker: int) -> bytes:
        response = await self.client.post(f"{self.target.url}/images/generations", json=BODY)
        return _picture(response.raise_for_status().json())

    async def link(self, worker: int) -> bytes:
        body = {**BODY, "response_format": "url"}
        response = await self.client.post(f"{self.target.url}/images/generations", json=body)
        link = response.raise_for_status().json()["data"][0]["url"]
        return (await self.client.get(link)).raise_for_status().content

    async def edit(self, worker: int) -> bytes:
        files = {"image": ("image.png", self.target.upload, "image/png")}
        response = await self.client.post(f"{self.target.url}/images/edits", data=_FORM, files=files)
        return _picture(response.raise_for_status().json())


class HttpxKeeping20(Httpx):
    """httpx that keeps 20 idle connections, as it does by default: others are opened anew, which costs it less."""

    kept = 20


class HttpxHttp2(Httpx):
    """httpx speaking HTTP/2."""

    http2 = True


class Aiohttp(Peer):
    """aiohttp, likewise."""

    async def open(self) -> None:
        import aiohttp

        self._aiohttp = aiohttp
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        headers = {"authorization": f"Bearer {KEY}"}
        self.session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers, raise_for_status=True
        )

    async def generate(self, worker: int) -> bytes:
        async with self.session.post(f"{self.target.url}/images/generations", json=BODY) as response:
            return _picture(await response.json())

    async def link(self, worker: int) -> bytes:
        body = {**BODY, "response_format": "url"}
        async with self.session.post(f"{self.target.url}/images/generations", json=body) as response:
            link = (await response.json())["data"][0]["url"]
        async with self.session.get(link) as response:
            return cast("bytes", await response.read())

    async def edit(self, worker: int) -> bytes:
        form = self._aiohttp.FormData(_FORM)
        form.add_field("image", self.target.upload, filename="image.png", content_type="image/png")
        async with self.session.post(f"{self.target.url}/images/edits", data=form) as response:
            return _picture(await response.json())


class OpenAI(Peer):
    """The openai package, pointed at another base URL; links are fetched with the client under it."""

    aiohttp = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import httpx2
        import openai

        kind = openai.DefaultAioHttpClient if self.aiohttp else openai.DefaultAsyncHttpxClient
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self.http = kind(limits=limits, timeout=None)
        options: Any = {"api_key": KEY, "base_url": target.url, "max_retries": 0, "timeout": None}
        self.client = openai.AsyncOpenAI(http_client=self.http, **options)

    async def generate(self, worker: int) -> bytes:
        return base64.b64decode((await self._made("b64_json")).data[0].b64_json)

    async def link(self, worker: int) -> bytes:
        link = (await self._made("url")).data[0].url
        return (await self.http.get(link)).raise_for_status().content

    async def edit(self, worker: int) -> bytes:
        image = ("image.png", self.target.upload, "image/png")
        made: Any = await self.client.images.edit(
            model=MODEL, image=image, prompt=PROMPT, response_format="b64_json", size="1024x1024"
        )
        return base64.b64decode(made.data[0].b64_json)

    async def _made(self, response_format: Any) -> Any:
        return await self.client.images.generate(
            model=MODEL,
            prompt=PROMPT,
            size="1024x1024",
            response_format=response_format,
            extra_body={"seed": 1, "steps": 8},
        )


class OpenAIAiohttp(OpenAI):
    """The openai package on its aiohttp backend."""

    aiohttp = True


class GenAI(Peer):
    """google-genai, whose own protocol the server speaks too; it uses aiohttp where that is installed."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = _genai(target)

    async def generate(self, worker: int) -> bytes:
        made = await self.client.aio.models.generate_content(model=MODEL, contents=PROMPT)
        return cast("bytes", made.candidates[0].content.parts[0].inline_data.data)


def _genai(target: Target) -> Any:
    from google import genai

    return genai.Client(api_key=KEY, http_options=genai.types.HttpOptions(base_url=target.url.removesuffix("/v1")))


class LiteLLM(Peer):
    """litellm, pointed at another base URL; it makes and keeps its connections as it likes."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import litellm

        self.litellm = litellm
        self.options = _litellm_options(target)

    async def generate(self, worker: int) -> bytes:
        made = await self.litellm.aimage_generation(**self.options)
        return base64.b64decode(made.data[0].b64_json)


def _litellm_options(target: Target) -> dict[str, Any]:
    known = {"prompt": PROMPT, "size": "1024x1024", "max_retries": 0}
    extra = {"response_format": "b64_json", "seed": 1, "steps": 8}
    return {"model": f"openai/{MODEL}", "api_base": target.url, "api_key": KEY, "extra_body": extra, **known}


class Floor(Peer):
    """What no client can beat: one connection a worker, request bytes made beforehand, nothing checked.

    The answer is read into one buffer that is used again, its base64 is cut out and decoded with SIMD.
    """

    async def open(self) -> None:
        parts = urlsplit(self.target.url)
        self._address = (parts.hostname or "", parts.port or 0)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._wires: dict[int, _Wire] = {}
        self._generate = self._request("/images/generations", "application/json", json.dumps(BODY).encode())
        self._edit = self._request(
            "/images/edits", "multipart/form-data; boundary=edge", _multipart(self.target.upload)
        )

    async def generate(self, worker: int) -> bytes:
        return await self._picture(worker, self._generate)

    async def edit(self, worker: int) -> bytes:
        return await self._picture(worker, self._edit)

    async def link(self, worker: int) -> bytes:
        wire = await self._wire(worker)
        link = json.loads(bytes(await wire.ask(self._generate)))["data"][0]["url"]
        return bytes(await wire.ask(f"GET {urlsplit(link).path} HTTP/1.1\r\nhost: floor\r\n\r\n".encode()))

    async def _picture(self, worker: int, request: bytes) -> bytes:
        wire = await self._wire(worker)
        await wire.ask(request)
        return cut_out(wire.buffer)

    async def _wire(self, worker: int) -> _Wire:
        if worker not in self._wires:
            loop = asyncio.get_running_loop()
            _, self._wires[worker] = await loop.create_connection(_Wire, *self._address, ssl=self._tls)
        return self._wires[worker]

    def _request(self, path: str, content_type: str, body: bytes) -> bytes:
        parts = urlsplit(self.target.url)
        head = f"POST {parts.path}{path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: {content_type}\r\n"
        return f"{head}authorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class DurableFloor(Floor):
    """The floor with what `save_to` promises: written in a thread under another name, flushed to the disk, renamed."""

    async def save(self, worker: int) -> None:
        await asyncio.to_thread(_write_durably, self.target.file(worker), await self.generate(worker))


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class _Wire(asyncio.BufferedProtocol):
    """A connection: a request out, an answer of known length in."""

    def __init__(self) -> None:
        self.buffer = bytearray(65536)
        self._start = 0
        self._filled = 0
        self._whole = 0
        self._answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("the server has gone"))

    async def ask(self, request: bytes) -> memoryview:
        """The body of the answer to `request`, until the next one."""
        self._filled = self._whole = 0
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered
        return memoryview(self.buffer)[self._start : self._whole]

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if not self._whole:
            self._read_head()
        if self._whole and self._filled >= self._whole:
            self._answered.set_result(None)

    def _read_head(self) -> None:
        end = self.buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return
        self._start = end + 4
        self._whole = self._start + int(self.buffer[:end].lower().partition(b"content-length:")[2].split(None, 1)[0])
        if len(self.buffer) <= self._whole:  # some room is left, since a full buffer looks like the end to TLS
            self.buffer = self.buffer + bytes(self._whole + 1 - len(self.buffer))


class SyncPeer:
    """A client to call from threads."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def generate(self, worker: int) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} does not say how it generates an image")


class OursSync(SyncPeer):
    """stepfun-async's `Client`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        from stepfun_async import Client, Limits

        self.client = Client(KEY, base_url=target.url, limits=Limits(max_concurrency=target.in_flight))

    def generate(self, worker: int) -> bytes:
        return self.client.images.generate(PROMPT, size="1024x1024", seed=1, steps=8).image.to_bytes()


class HttpxSync(SyncPeer):
    """`httpx.Client`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import httpx

        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self.client = httpx.Client(headers={"authorization": f"Bearer {KEY}"}, limits=limits, timeout=None)

    def generate(self, worker: int) -> bytes:
        response = self.client.post(f"{self.target.url}/images/generations", json=BODY)
        return _picture(response.raise_for_status().json())


class OpenAISync(SyncPeer):
    """`openai.OpenAI`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import httpx2
        import openai

        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        http = openai.DefaultHttpxClient(limits=limits, timeout=None)
        options: Any = {"api_key": KEY, "base_url": target.url, "max_retries": 0, "timeout": None}
        self.client = openai.OpenAI(http_client=http, **options)

    def generate(self, worker: int) -> bytes:
        made: Any = self.client.images.generate(
            model=MODEL,
            prompt=PROMPT,
            size="1024x1024",
            response_format="b64_json",
            extra_body={"seed": 1, "steps": 8},
        )
        return base64.b64decode(made.data[0].b64_json)


class GenAISync(SyncPeer):
    """google-genai's sync methods."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = _genai(target)

    def generate(self, worker: int) -> bytes:
        made = self.client.models.generate_content(model=MODEL, contents=PROMPT)
        return cast("bytes", made.candidates[0].content.parts[0].inline_data.data)


class LiteLLMSync(SyncPeer):
    """litellm's sync function."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        import litellm

        self.litellm = litellm
        self.options = _litellm_options(target)

    def generate(self, worker: int) -> bytes:
        return base64.b64decode(self.litellm.image_generation(**self.options).data[0].b64_json)


def cut_out(answer: bytes | bytearray) -> bytes:
    """The picture in an answer whose form is known: its base64 is looked for as bytes, and no JSON is read."""
    start = answer.index(_BEFORE) + len(_BEFORE)
    return _decoder()(memoryview(answer)[start : answer.index(b'"', start)])


@cache
def _decoder() -> Callable[[memoryview], bytes]:
    """The fastest there is; strict is the faster way."""
    import pybase64

    return partial(pybase64.b64decode, validate=True)


def _picture(answer: Mapping[str, Any]) -> bytes:
    return base64.b64decode(answer["data"][0]["b64_json"])


_BEFORE = b'"b64_json":"'
_FORM = {"model": MODEL, "prompt": PROMPT, "response_format": "b64_json"}


def _multipart(picture: bytes) -> bytes:
    part = "--edge\r\ncontent-disposition: form-data; name={}\r\n\r\n{}\r\n"
    fields = "".join(part.format(name, value) for name, value in _FORM.items())
    file = (
        '--edge\r\ncontent-disposition: form-data; name=image; filename="image.png"\r\ncontent-type: image/png\r\n\r\n'
    )
    return (fields + file).encode() + picture + b"\r\n--edge--\r\n"


@dataclass(frozen=True)
class Client:
    """A client by name.

    Attributes:
        title: what it is called in tables.
        package: what to install; None where there is nothing.
        awaited: its adapter to await.
        called: its adapter to call from threads.
        imports: the statements that load the package, and the class that makes calls.
    """

    title: str
    package: str | None
    awaited: type[Peer]
    called: type[SyncPeer] = SyncPeer
    imports: Mapping[str, str] = field(default_factory=dict)


def _imports(package: str, name: str) -> Mapping[str, str]:
    return {"package": f"import {package}", "class": f"from {package} import {name}"}


CLIENTS: Mapping[str, Client] = {
    "ours": Client("stepfun-async", "stepfun-async", Ours, OursSync, _imports("stepfun_async", "AsyncClient")),
    BEFORE: Client("stepfun-async, before", None, Ours, OursSync, _imports("stepfun_async", "AsyncClient")),
    "floor": Client("floor", None, Floor),
    "floor-durable": Client("floor, flushed", None, DurableFloor),
    "aiohttp": Client("aiohttp", "aiohttp", Aiohttp, imports=_imports("aiohttp", "ClientSession")),
    "httpx": Client("httpx", "httpx", Httpx, HttpxSync, _imports("httpx", "AsyncClient")),
    "httpx-20": Client("httpx, 20 kept", "httpx", HttpxKeeping20),
    "ours-http2": Client("stepfun-async, HTTP/2", "stepfun-async", OursHttp2),
    "httpx-http2": Client("httpx, HTTP/2", "httpx", HttpxHttp2),
    "openai": Client("openai", "openai", OpenAI, OpenAISync, _imports("openai", "AsyncOpenAI")),
    "openai-aiohttp": Client("openai on aiohttp", "openai", OpenAIAiohttp),
    "google-genai": Client("google-genai", "google-genai", GenAI, GenAISync, _imports("google.genai", "Client")),
    "litellm": Client("litellm", "litellm", LiteLLM, LiteLLMSync, _imports("litellm", "aimage_generation")),
}
"""All clients; the others are compared with the first."""
