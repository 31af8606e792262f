"""`client.images`: the methods that generate, edit and download images, one or many."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from .._call.caller import Caller
from .._call.options import NO_OPTIONS, Options
from .._call.settings import hidden_headers
from .._core.errors import StepFunError
from .._core.keywords import unknown_keywords
from .._core.parameters import Parameters
from .._core.results import Image, ImagesResponse, SaveTo
from .._runtime.tracebacks import without_frames
from .signatures import parameters_of, shown

if TYPE_CHECKING:
    from .._call.fan_out import OutcomeIterator
    from .._core.params import (
        EditModel,
        EditSize,
        GenerateModel,
        GenerateSize,
        ImageToImageModel,
        ImageToImageSize,
        Nothing,
        StyleReference,
    )
    from .._core.requests import ImageRequest, ImageSource, ResponseFormat


class AsyncImages:
    """Generate, edit and download images, one or many."""

    def __init__(self, service: Caller) -> None:
        self._service = service

    @shown
    async def generate(
        self,
        prompt: str,
        *,
        model: GenerateModel = "step-image-edit-2",
        size: GenerateSize | None = None,
        n: int | None = None,
        response_format: ResponseFormat = "b64_json",
        seed: int | None = None,
        steps: int | None = None,
        cfg_scale: float | None = None,
        negative_prompt: str | None = None,
        text_mode: bool | None = None,
        style_reference: StyleReference | None = None,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **unknown: Unpack[Nothing],
    ) -> ImagesResponse:
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
        if unknown:
            raise unknown_keywords("images.generate()", unknown, parameters_of(AsyncImages.generate))
        server = self._service.config.server
        if extra_headers is not None:
            extra_headers = hidden_headers(extra_headers)
        given = {
            "prompt": prompt,
            "size": size,
            "n": n,
            "response_format": response_format,
            "seed": seed,
            "steps": steps,
            "cfg_scale": cfg_scale,
            "negative_prompt": negative_prompt,
            "text_mode": text_mode,
            "style_reference": style_reference,
        }
        options = _options(save_to, overwrite, timeout, queue_timeout, extra_headers)
        try:
            return await self._service.send(Parameters("text_to_image", model, given, extra_body, server), options)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    @shown
    async def edit(
        self,
        image: ImageSource,
        prompt: str,
        *,
        model: EditModel = "step-image-edit-2",
        size: EditSize | None = None,
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
        **unknown: Unpack[Nothing],
    ) -> ImagesResponse:
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
        if unknown:
            raise unknown_keywords("images.edit()", unknown, parameters_of(AsyncImages.edit))
        server = self._service.config.server
        if extra_headers is not None:
            extra_headers = hidden_headers(extra_headers)
        given = {
            "image": image,
            "prompt": prompt,
            "size": size,
            "n": n,
            "response_format": response_format,
            "seed": seed,
            "steps": steps,
            "cfg_scale": cfg_scale,
            "negative_prompt": negative_prompt,
            "text_mode": text_mode,
        }
        options = _options(save_to, overwrite, timeout, queue_timeout, extra_headers)
        try:
            return await self._service.send(Parameters("edit", model, given, extra_body, server), options)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    @shown
    async def image_to_image(
        self,
        image: ImageSource,
        prompt: str,
        *,
        source_weight: float,
        model: ImageToImageModel = "step-2x-large",
        size: ImageToImageSize | None = None,
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
        **unknown: Unpack[Nothing],
    ) -> ImagesResponse:
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
        if unknown:
            raise unknown_keywords("images.image_to_image()", unknown, parameters_of(AsyncImages.image_to_image))
        server = self._service.config.server
        if extra_headers is not None:
            extra_headers = hidden_headers(extra_headers)
        given = {
            "image": image,
            "prompt": prompt,
            "source_weight": source_weight,
            "size": size,
            "n": n,
            "response_format": response_format,
            "seed": seed,
            "steps": steps,
            "cfg_scale": cfg_scale,
        }
        options = _options(save_to, overwrite, timeout, queue_timeout, extra_headers)
        try:
            return await self._service.send(Parameters("image_to_image", model, given, extra_body, server), options)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    @shown
    async def download(
        self,
        image: Image | str,
        *,
        save_to: SaveTo | None = None,
        overwrite: bool = False,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        **unknown: Unpack[Nothing],
    ) -> Image:
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
        if unknown:
            raise unknown_keywords("images.download()", unknown, parameters_of(AsyncImages.download))
        options = _options(save_to, overwrite, timeout, queue_timeout, None)
        try:
            return await self._service.download(image, options)
        except StepFunError as error:
            raise without_frames(error) from error.__cause__

    @shown
    def map(
        self,
        requests: Iterable[ImageRequest | str] | AsyncIterable[ImageRequest | str],
        *,
        ordered: bool = False,
        progress: bool = False,
        **unknown: Unpack[Nothing],
    ) -> OutcomeIterator:
        """Send many requests, as many at once as the limits allow, and yield each as it ends.

        Requests are taken from `requests` only when one can be sent, so a generator of a million costs no
        memory. A request that fails does not stop the others. Calls in flight are cancelled by `aclose()`, by
        leaving an `async with` around the iterator, by closing the client, or when the iterator is dropped.

        Args:
            requests: `TextToImage`, `ImageEdit` and `ImageToImage` values; text is the prompt of a `TextToImage`.
            ordered: yield outcomes in the order of the requests instead of the order in which they end.
            progress: show the progress, such as `24 of 200 (12 %) · 5 failed · 3.1/s · 0.07 USD · 48 s left`: on a
                terminal as a line on stderr that is updated in place, in a notebook as a bar in the cell, and elsewhere
                as a line every ten seconds.

        Returns:
            An async iterator over `Finished(request, response)` and `Failed(request, error)`.

        Raises:
            InvalidRequestError: `requests` is not an iterable. A request that is invalid is a `Failed` instead.
        """
        from .._call.fan_out import fan_out

        if unknown:
            raise unknown_keywords("images.map()", unknown, parameters_of(AsyncImages.map))
        return fan_out(self._service, requests, ordered=ordered, progress=progress)


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
