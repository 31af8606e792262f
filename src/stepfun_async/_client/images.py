"""`client.images`: the methods that generate, edit and download images, one or many."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from .._call.options import NO_OPTIONS, Options
from .._call.service import Caller
from .._call.settings import hidden_headers
from .._core.results import Image, ImagesResponse, SaveTo

if TYPE_CHECKING:
    from .._call.fan_out import OutcomeIterator
    from .._core.capabilities import CustomModel
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
    from .._core.requests import ImageRequest, PictureInput, ResponseFormat
    from .._core.sizes import Size


@cache
def _requests() -> ModuleType:
    """Import the request values on first use, since they import pydantic."""
    from .._core import requests

    return requests


class ImageMethods:
    """Generate, edit and download images, one or many."""

    # The documentation of both clients' methods: editors show it for the overrides, too.

    def generate(self, *args: Any, **options: Any) -> Any:
        """Generate an image from a text prompt.

        `capabilities(model)` and the documentation's table of models list the parameters of each model.

        Args:
            prompt: what the image shows.
            model: the model to use.
            size: `Size(width=, height=)`, an aspect ratio such as `"16:9"` (width to height), or the
                wire string exactly as StepFun documents it for the model. `step-image-edit-2` writes
                HEIGHTxWIDTH there, the others WIDTHxHEIGHT.
            n: the number of images; the built-in models make one.
            response_format: `b64_json` returns the image itself, `url` a link that expires.
            seed: 0 to 2147483647; the same seed and parameters give similar images.
            steps: more are slower and finer.
            cfg_scale: how closely to follow the prompt.
            negative_prompt: what the image should not show; needs `cfg_scale` above 1.0.
            text_mode: improve lettering inside the image.
            style_reference: `{"source_url": image, "weight": number}`, the image whose style to
                apply (anything that `edit` takes, or a link) and how strongly.
            save_to: the file to write the image to, while it arrives. Without an extension it gets the
                actual format's. The response's `Image` then has a `path`, and no `data`.
            overwrite: replace an existing file.
            timeout: seconds for everything after the call has its slot; by default the client's.
            queue_timeout: seconds to wait for a slot; by default the client's.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            InvalidRequestError: the request is invalid; `.problems` lists every problem. Nothing was sent.
            ContentFilteredError: only with `save_to`: the image was withheld (otherwise `.image` raises it).
            SaveError: the image was made, but not written; `.response` has it, in memory.
            QueueTimeoutError: no slot became free in time; nothing was sent.
            APIError: there was no usable response; `.billing` says whether it may have been billed.
        """

    def edit(self, *args: Any, **options: Any) -> Any:
        """Edit an image as the prompt says.

        Args:
            image: a path, bytes, a binary file object, a PIL image, an `Image` of an earlier
                response, or a data URI. Its type is detected from its bytes; type, pixels and ratio
                are checked before anything is sent. A file is streamed from disk.
            prompt: what to change.
            model: the model to use.
            size: only `step-1x-edit` takes it; `step-image-edit-2` keeps the image's size.
            n: the number of images; the built-in models do not take it here.
            response_format: as in `generate`, like all parameters that follow.
            seed: 0 to 2147483647.
            steps: more are slower and finer.
            cfg_scale: how closely to follow the prompt.
            negative_prompt: what the image should not show; needs `cfg_scale` above 1.0.
            text_mode: improve lettering inside the image.
            save_to: the file to write the image to.
            overwrite: replace an existing file.
            timeout: seconds for everything after the call has its slot.
            queue_timeout: seconds to wait for a slot.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            StepFunError: as `generate` does.
        """

    def image_to_image(self, *args: Any, **options: Any) -> Any:
        """Generate a new image from an existing one.

        Args:
            image: what `edit` takes, or an http(s) link that the server can reach.
            prompt: what the new image shows.
            source_weight: above 0 to 1; smaller is closer to the source.
            model: the model to use.
            size: `Size(width=, height=)`, an aspect ratio, or the wire string (WIDTHxHEIGHT).
            n: the number of images; the built-in models make one.
            response_format: as in `generate`, like all parameters that follow.
            seed: 0 to 2147483647; 0 is random.
            steps: more are slower and finer.
            cfg_scale: how closely to follow the prompt.
            save_to: the file to write the image to.
            overwrite: replace an existing file.
            timeout: seconds for everything after the call has its slot.
            queue_timeout: seconds to wait for a slot.
            extra_body: additional parameters, sent unchecked.
            extra_headers: additional headers.

        Returns:
            The response; `.image` is the image.

        Raises:
            StepFunError: as `generate` does.
        """

    def download(self, *args: Any, **options: Any) -> Any:
        """Download the image behind a link. The API key is never sent there.

        Links to addresses that are not public are refused, unless the API itself is at one.

        Args:
            image: an `Image` requested with `response_format="url"`, or the link itself.
            save_to: the file to write it to, while it arrives. Without an extension it gets the
                actual format's.
            overwrite: replace an existing file.
            timeout: seconds for everything after the call has its slot; by default the client's.
            queue_timeout: seconds to wait for a slot; by default the client's.

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


class AsyncImages(ImageMethods):
    """Generate, edit and download images, one or many."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    @overload
    async def generate(
        self, prompt: str, *, model: Literal["step-image-edit-2"] = ..., **options: Unpack[Edit2Generate]
    ) -> ImagesResponse: ...
    @overload
    async def generate(
        self, prompt: str, *, model: Literal["step-2x-large"], **options: Unpack[LargeGenerate]
    ) -> ImagesResponse: ...
    @overload
    async def generate(
        self, prompt: str, *, model: Literal["step-1x-medium"], **options: Unpack[MediumGenerate]
    ) -> ImagesResponse: ...
    @overload
    async def generate(
        self, prompt: str, *, model: CustomModel, **options: Unpack[CustomGenerate]
    ) -> ImagesResponse: ...
    async def generate(
        self,
        prompt: str,
        *,
        model: str = "step-image-edit-2",
        size: Size | str | None = None,
        n: int | None = None,
        response_format: ResponseFormat = "b64_json",
        seed: int | None = None,
        steps: int | None = None,
        cfg_scale: float | None = None,
        negative_prompt: str | None = None,
        text_mode: bool | None = None,
        style_reference: Mapping[str, Any] | None = None,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ImagesResponse:
        extra_headers = hidden_headers(extra_headers)
        request = _requests().TextToImage(
            model=model,
            prompt=prompt,
            size=size,
            n=n,
            response_format=response_format,
            seed=seed,
            steps=steps,
            cfg_scale=cfg_scale,
            negative_prompt=negative_prompt,
            text_mode=text_mode,
            style_reference=style_reference,
            extra_body=extra_body,
        )
        return await self._service.send(request, _options(save_to, overwrite, timeout, queue_timeout, extra_headers))

    @overload
    async def edit(
        self,
        image: PictureInput,
        prompt: str,
        *,
        model: Literal["step-image-edit-2"] = ...,
        **options: Unpack[Edit2Edit],
    ) -> ImagesResponse: ...
    @overload
    async def edit(
        self, image: PictureInput, prompt: str, *, model: Literal["step-1x-edit"], **options: Unpack[Edit1xEdit]
    ) -> ImagesResponse: ...
    @overload
    async def edit(
        self, image: PictureInput, prompt: str, *, model: CustomModel, **options: Unpack[CustomEdit]
    ) -> ImagesResponse: ...
    async def edit(
        self,
        image: PictureInput,
        prompt: str,
        *,
        model: str = "step-image-edit-2",
        size: Size | str | None = None,
        n: int | None = None,
        response_format: ResponseFormat = "b64_json",
        seed: int | None = None,
        steps: int | None = None,
        cfg_scale: float | None = None,
        negative_prompt: str | None = None,
        text_mode: bool | None = None,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ImagesResponse:
        extra_headers = hidden_headers(extra_headers)
        request = _requests().ImageEdit(
            model=model,
            image=image,
            prompt=prompt,
            size=size,
            n=n,
            response_format=response_format,
            seed=seed,
            steps=steps,
            cfg_scale=cfg_scale,
            negative_prompt=negative_prompt,
            text_mode=text_mode,
            extra_body=extra_body,
        )
        return await self._service.send(request, _options(save_to, overwrite, timeout, queue_timeout, extra_headers))

    @overload
    async def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: Literal["step-2x-large", "step-1x-medium"] = ...,
        **options: Unpack[StepImageToImage],
    ) -> ImagesResponse: ...
    @overload
    async def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: CustomModel,
        **options: Unpack[CustomImageToImage],
    ) -> ImagesResponse: ...
    async def image_to_image(
        self,
        image: PictureInput,
        prompt: str,
        *,
        source_weight: float,
        model: str = "step-2x-large",
        size: Size | str | None = None,
        n: int | None = None,
        response_format: ResponseFormat = "b64_json",
        seed: int | None = None,
        steps: int | None = None,
        cfg_scale: float | None = None,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ImagesResponse:
        extra_headers = hidden_headers(extra_headers)
        request = _requests().ImageToImage(
            model=model,
            image=image,
            prompt=prompt,
            source_weight=source_weight,
            size=size,
            n=n,
            response_format=response_format,
            seed=seed,
            steps=steps,
            cfg_scale=cfg_scale,
            extra_body=extra_body,
        )
        return await self._service.send(request, _options(save_to, overwrite, timeout, queue_timeout, extra_headers))

    async def download(
        self,
        image: Image | str,
        *,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
    ) -> Image:
        return await self._service.download(image, _options(save_to, overwrite, timeout, queue_timeout, None))

    def map(
        self, requests: Iterable[ImageRequest] | AsyncIterable[ImageRequest], *, ordered: bool = False
    ) -> OutcomeIterator:
        """Send many requests, as many at once as the limits allow, and yield each as it ends.

        Requests are taken from `requests` only when one can be sent, so a generator of a million costs no
        memory. A request that fails does not stop the others. Calls in flight are cancelled by `aclose()`, by
        leaving an `async with` around the iterator, by closing the client, or when the iterator is dropped.

        Args:
            requests: `TextToImage`, `ImageEdit` and `ImageToImage` values.
            ordered: yield results in the order of the requests instead of the order in which they end.

        Returns:
            An async iterator over `Finished(request, response)` and `Failed(request, error)`.
        """
        from .._call.fan_out import fan_out

        return fan_out(self._service, requests, ordered=ordered)


def _options(
    save_to: SaveTo | None,
    overwrite: bool,
    timeout: float | None,
    queue_timeout: float | None,
    headers: Mapping[str, str] | None,
) -> Options:
    if save_to is None and timeout is None and queue_timeout is None and headers is None:
        return NO_OPTIONS
    return Options(save_to=save_to, overwrite=overwrite, timeout=timeout, queue_timeout=queue_timeout, headers=headers)
