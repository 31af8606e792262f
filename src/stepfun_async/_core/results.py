"""The results of calls: `ImagesResponse` and the `Image`s in it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pybase64 import b64encode_as_string

from .._runtime.files import is_no_file, names_directory, why_directory, why_not_writable, why_of, write_bytes
from .errors import Billing, ConfigurationError, InvalidRequestError, MalformedResponseError, StepFunError
from .headers import CONTENT_TYPES, EXTENSIONS

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


SaveTo: TypeAlias = str | os.PathLike[str]


FILTERED = "content_filtered"
"""The finish reason of an image that was made and then withheld."""


UNKNOWN = ".bin"
"""The extension of bytes of no known format."""


_NO_EXTENSION = ("", ".")
"""A name that ends in a dot has the suffix `.` since Python 3.14, and had an empty one before."""


def targets(path: Path) -> tuple[Path, ...]:
    """Return the files that an image saved to `path` may be written to, depending on its real format."""
    if not _takes_extension(path):
        return (path,)
    return tuple(_with_extension(path, extension) for extension in (*EXTENSIONS.values(), UNKNOWN))


def _takes_extension(path: Path) -> bool:
    return bool(path.name) and path.suffix in _NO_EXTENSION and not is_no_file(path)


def _with_extension(path: Path, extension: str) -> Path:
    return path.with_name(path.name.rstrip(".") + extension)


def _known(value: Any) -> str:
    """Return the `repr` of a result, with its known fields only and without the bytes of images."""
    facts = ((each.name, getattr(value, each.name)) for each in fields(value))
    said = [f"{name}={_short(fact)}" for name, fact in facts if fact is not None]
    return f"{type(value).__name__}({', '.join(said)})"


def _short(fact: object) -> str:
    return f"<{len(fact):,} bytes>" if isinstance(fact, bytes) else repr(fact)


class ContentFilteredError(StepFunError):
    """The image was made and billed, then withheld by the content filter.

    Attributes:
        response: the whole response, with seed and ids.
    """

    billing: Billing = "executed"

    def __init__(self, message: str, *, response: "ImagesResponse") -> None:
        super().__init__(message, trace_id=response.trace_id)
        self.response = response
        self.attempts = response.attempts
        self.maybe_billed = response.maybe_billed


class SaveError(StepFunError, OSError):
    """The image was made and paid for, but could not be written.

    Attributes:
        response: the whole response; `response.image.save(...)` writes it elsewhere. If `Image.save`
            raised the error, a response with just that image.
    """

    billing: Billing = "executed"

    def __init__(self, message: str, *, response: "ImagesResponse") -> None:
        super().__init__(message, trace_id=response.trace_id)
        self.response = response
        self.attempts = response.attempts
        self.maybe_billed = response.maybe_billed


@dataclass(frozen=True, slots=True, repr=False)
class Image:
    """One image of a response.

    Attributes:
        data: the image's bytes; `None` for one that was saved by `save_to`, is only linked, or was filtered.
        url: the link to it, when asked for with `response_format="url"`.
        expires_at: when the link stops working, in UTC; `None` if the server's rule is not known.
        path: the file it was saved to by `save_to`; `None` if it was not.
        format: `png`, `jpeg`, `webp`, `gif`, `avif`, `bmp`, `svg` and so on, read from the bytes; `None` for
            anything else.
        width: pixels, read from the bytes of the first four; `None` if they are not known.
        height: pixels, likewise.
        seed: the seed it was made from; `None` if unknown.
        finish_reason: `success` or `content_filtered`; `None` if unknown.
    """

    data: bytes | None = None
    url: str | None = None
    expires_at: datetime | None = None
    path: Path | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    finish_reason: str | None = None

    @property
    def filtered(self) -> bool:
        """Whether the content filter withheld the image."""
        return self.finish_reason == FILTERED

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the image to `path` atomically.

        Parent folders are made. A `path` without an extension gets that of the image's real format.

        Args:
            path: the file to write. One that ends in a slash names a directory, and is refused.
            overwrite: replace a file that is already there.

        Returns:
            The path written.

        Raises:
            SaveError (an OSError): `path` exists, names a directory or is otherwise no place for a file, its
                folder may not be written to, or the disk is full. The image is still where it was.
            InvalidRequestError: this `Image` has no bytes.
        """
        target = self.target(path)
        if names_directory(path):
            raise self._unsaved(os.fspath(path), why_directory(path))
        if why := why_not_writable(target, overwrite=overwrite):
            raise self._unsaved(target, why)
        try:
            data = self.to_bytes()
        except OSError as error:
            why = f"the image's file can no longer be read ({why_of(error, self.path or target)})"
            raise self._unsaved(target, why, "") from error
        try:
            write_bytes(target, data, overwrite=overwrite)
        except OSError as error:
            raise self._unsaved(target, why_of(error, target)) from error
        return target

    def _unsaved(self, target: SaveTo, why: str, still: str = "; the image is still in {}") -> SaveError:
        where = "image.data" if self.data is not None else repr(str(self.path))
        message = f"{str(target)!r} is not written: {why}{still.format(where)}"
        return SaveError(message, response=ImagesResponse((self,), attempts=0, maybe_billed=0))

    def __repr__(self) -> str:
        return _known(self)

    def to_bytes(self) -> bytes:
        """The image's bytes: `data`, or what is in the file at `path`.

        Raises:
            InvalidRequestError: there are none, because the image is only linked or was filtered.
            OSError: the file can no longer be read.
        """
        if self.data is not None:
            return self.data
        if self.path is not None:
            return self.path.read_bytes()
        if self.filtered:
            raise InvalidRequestError("this Image has no bytes: it was withheld by the content filter")
        raise InvalidRequestError("this Image is only a link: fetch it with client.images.download(image)")

    def target(self, path: str | os.PathLike[str]) -> Path:
        """The file that `save(path)` writes: `path`, with the real format's extension if it has none."""
        target = Path(path)
        return (
            _with_extension(target, EXTENSIONS.get(self.format or "", UNKNOWN)) if _takes_extension(target) else target
        )

    def to_pil(self) -> "PILImage":
        """The image as a Pillow image.

        Raises:
            ConfigurationError: Pillow is not installed.
            InvalidRequestError: this `Image` has no bytes.
            OSError: its file can no longer be read.
        """
        if find_spec("PIL") is None:
            raise ConfigurationError('to_pil() needs Pillow: pip install "stepfun-async[embedded]"')
        import io

        from PIL import Image as pillow

        return pillow.open(io.BytesIO(self.to_bytes()))

    def show(self) -> None:
        """Open a copy of the image in the viewer of this machine's desktop. Notebooks show an `Image` by themselves.

        Raises:
            ConfigurationError: Pillow is not installed, or there is no viewer, as on most servers.
            InvalidRequestError: this `Image` has no bytes.
            OSError: its file can no longer be read.
        """
        image = self.to_pil()
        from PIL import ImageShow

        if not ImageShow.show(image):
            raise ConfigurationError("show() finds no viewer on this machine: write a file with image.save(path)")

    def mimebundle(self) -> dict[str, str]:
        """The image by content type in base64, and its description, as notebooks show it."""
        bundle = {"text/plain": repr(self)}
        if self.format is not None and self.width is not None:  # what notebooks show
            with suppress(InvalidRequestError, OSError):
                bundle[CONTENT_TYPES[self.format]] = b64encode_as_string(self.to_bytes())
        return bundle

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.mimebundle()


@dataclass(frozen=True, slots=True, repr=False)
class ImagesResponse:
    """A server's response to one request.

    Attributes:
        data: the images; StepFun makes exactly one.
        created: when it was made, seconds since 1970; `None` if unknown.
        id: the server's id of the response; `None` if it did not say.
        trace_id: the `X-Trace-Id` of the response, for StepFun's support, or what a gateway has in its place.
        model: the model asked.
        attempts: how many times the request was tried.
        maybe_billed: how many of these attempts may have been charged, this one included.
        elapsed: seconds from the granted slot to the finished response, waits between attempts included.
    """

    data: tuple[Image, ...]
    created: int | None = None
    id: str | None = None
    trace_id: str | None = None
    model: str | None = None
    attempts: int = 1
    maybe_billed: int = 1
    elapsed: float = 0.0

    @property
    def image(self) -> Image:
        """The one usable image.

        Raises:
            ContentFilteredError: the filter withheld it; it is charged all the same.
            MalformedResponseError: the response has no image.
        """
        for image in self.data:
            if not image.filtered:
                return image
        if not self.data:
            raise MalformedResponseError("the response has no image", body=b"", trace_id=self.trace_id)
        message = "the image was generated, charged, and then withheld by the content filter: change the prompt"
        raise ContentFilteredError(message, response=self)

    def __repr__(self) -> str:
        return _known(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        bundle: dict[str, str] = {}
        for image in self.data:
            bundle.update(image.mimebundle())
        bundle["text/plain"] = repr(self)
        return bundle


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the server lists it.

    Attributes:
        id: its name.
        created: seconds since 1970; `None` if unknown.
        owned_by: its owner; `None` if unknown.
    """

    id: str
    created: int | None = None
    owned_by: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """The account behind the key, in the currency of its region.

    Attributes:
        type: `prepaid` or `postpaid`; `None` if unknown.
        balance: what is left.
        total_cash_balance: the part that was paid in.
        total_voucher_balance: the part from vouchers.
    """

    type: str | None
    balance: float
    total_cash_balance: float = 0.0
    total_voucher_balance: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """A client's use of one model.

    Attributes:
        requests: calls made.
        attempts: times they were tried.
        billed: images that arrived, and so were charged.
        maybe_billed: further attempts that may have been charged, since their responses were lost.
        spent: the documented price of what was billed, by currency; images whose price is not
            known (another server's, say) are not in it.
        unpriced: billed images whose price is not known.
    """

    requests: int = 0
    attempts: int = 0
    billed: int = 0
    maybe_billed: int = 0
    spent: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Usage(ModelUsage):
    """A client's use so far, in total and by model."""

    by_model: Mapping[str, ModelUsage] = field(default_factory=dict[str, ModelUsage])
