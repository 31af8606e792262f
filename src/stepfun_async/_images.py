"""`client.images`: the methods that make, edit, fetch and fan out pictures."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from ._call.options import NO_OPTIONS, Options
from ._call.service import Caller
from ._call.settings import hidden_headers
from ._core.results import Image, ImagesResponse, SaveTo

if TYPE_CHECKING:
    from ._call.fan_out import OutcomeIterator
    from ._core.capabilities import CustomModel
    from ._core.params import (
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
    from ._core.requests import ImageRequest, PictureInput, ResponseFormat
    from ._core.sizes import Size


@cache
def _requests() -> ModuleType:
    """The module of the request values, which loads pydantic, and so is loaded when the first one is made."""
    from ._core import requests

    return requests


class AsyncImages:
    """Pictures: make, edit, start from another, fetch, fan out."""

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
        """Make a picture from words.

        What each model takes is in `capabilities(model)` and in the documentation's table of models.

        Args:
            prompt: what the picture shows.
            model: which model makes it.
            size: `Size(width=, height=)`, an aspect ratio such as `"16:9"` (width to height), or the
                wire string exactly as StepFun documents it for the model. `step-image-edit-2` writes
                HEIGHTxWIDTH there, the others WIDTHxHEIGHT.
            n: how many; the models make one.
            response_format: `b64_json` brings the picture itself, `url` a link that expires.
            seed: 0 to 2147483647; the same seed and parameters make similar pictures.
            steps: more are slower and finer.
            cfg_scale: how closely the prompt is followed.
            negative_prompt: what the picture does not show; needs `cfg_scale` above 1.0.
            text_mode: better lettering inside the picture.
            style_reference: `{"source_url": picture, "weight": number}`, the picture whose style to
                take (anything that `edit` takes, or a link) and how strongly.
            save_to: the file to write the picture to, while it arrives. Without an extension it gets the
                real format's. The answer's `Image` has its `path` then, and no `data`.
            overwrite: replace a file that is already there.
            timeout: seconds for everything after the slot is granted; the client's when absent.
            queue_timeout: seconds to wait for a slot; the client's when absent.
            extra_body: parameters sent as they are, unchecked.
            extra_headers: headers sent besides.

        Returns:
            The answer; `.image` is the picture.

        Raises:
            InvalidRequestError: the request has problems, all of them in `.problems`; nothing was sent.
            ContentFilteredError: only with `save_to`: the picture was withheld (else `.image` raises it).
            SaveError: the picture was made, but not written; `.response` has it, in memory.
            QueueTimeoutError: no slot came free in time; nothing was sent.
            APIError: there was no usable answer; `.billing` says whether it may have been charged.
        """
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
        """Change a picture as the words say.

        Args:
            image: the picture: a path, bytes, a binary file object, a PIL image, an `Image` of an
                earlier answer, or a data URI. Its type is found by its bytes; type, pixels and ratio
                are checked before anything is sent. A file is sent from disk, in pieces.
            prompt: what to change.
            model: which model changes it.
            size: only `step-1x-edit` takes it; `step-image-edit-2` keeps the picture's size.
            n: how many; not a parameter of the built-in models here.
            response_format: as in `generate`, and so are all parameters that follow.
            seed: 0 to 2147483647.
            steps: more are slower and finer.
            cfg_scale: how closely the prompt is followed.
            negative_prompt: what the picture does not show; needs `cfg_scale` above 1.0.
            text_mode: better lettering inside the picture.
            save_to: the file to write the picture to.
            overwrite: replace a file that is already there.
            timeout: seconds for everything after the slot is granted.
            queue_timeout: seconds to wait for a slot.
            extra_body: parameters sent as they are, unchecked.
            extra_headers: headers sent besides.

        Returns:
            The answer; `.image` is the picture.

        Raises:
            StepFunError: as `generate` does.
        """
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
        """Make a new picture that starts from another one.

        Args:
            image: what `edit` takes, or an http(s) link that the server can reach.
            prompt: what the new picture shows.
            source_weight: above 0 to 1; smaller is closer to the source.
            model: which model makes it.
            size: `Size(width=, height=)`, an aspect ratio, or the wire string (WIDTHxHEIGHT).
            n: how many; the models make one.
            response_format: as in `generate`, and so are all parameters that follow.
            seed: 0 to 2147483647; 0 is random.
            steps: more are slower and finer.
            cfg_scale: how closely the prompt is followed.
            save_to: the file to write the picture to.
            overwrite: replace a file that is already there.
            timeout: seconds for everything after the slot is granted.
            queue_timeout: seconds to wait for a slot.
            extra_body: parameters sent as they are, unchecked.
            extra_headers: headers sent besides.

        Returns:
            The answer; `.image` is the picture.

        Raises:
            StepFunError: as `generate` does.
        """
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
        """Fetch the picture behind a link. The key is never sent there.

        Only public addresses are fetched from, unless the API itself is at one that is not.

        Args:
            image: an `Image` that was asked for with `response_format="url"`, or the link itself.
            save_to: the file to write it to, while it arrives. Without an extension it gets the real
                format's.
            overwrite: replace a file that is already there.
            timeout: seconds for everything after the slot is granted; the client's when absent.
            queue_timeout: seconds to wait for a slot; the client's when absent.

        Returns:
            The `Image` with its format and size, and its bytes in `data`; with `save_to` they are in the
            file at `path` only, where `to_bytes()` and the like read them.

        Raises:
            InvalidRequestError: there is no link, or `save_to` cannot be written.
            NotFoundError: the link has expired.
            MalformedResponseError: there is no picture behind it.
            SaveError: it was fetched, but not written.
            APIConnectionError: the link leads where it may not, or no whole answer came.
            APIError: there was no usable answer.
        """
        return await self._service.download(image, _options(save_to, overwrite, timeout, queue_timeout, None))

    def map(
        self, requests: Iterable[ImageRequest] | AsyncIterable[ImageRequest], *, ordered: bool = False
    ) -> OutcomeIterator:
        """Send many requests, as many at once as the limits allow, and give back each as it ends.

        Requests are taken from `requests` only as there is room, so a generator of a million costs no
        memory. A request that fails does not end the others. What is in flight ends with `aclose()`, with
        an `async with` around the iterator, with the client, or when the iterator is dropped.

        Args:
            requests: `TextToImage`, `ImageEdit` and `ImageToImage` values.
            ordered: give results in the order of the requests instead of the order of their ends.

        Returns:
            An async iterator over `Finished(request, response)` and `Failed(request, error)`.
        """
        from ._call.fan_out import fan_out

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
