"""The three requests as values: they accept anything; `.problems()`, `.price()` and `.fingerprint()` are offline."""

import os
from collections.abc import Iterator, Mapping
from copy import copy
from functools import cache, cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, SerializationInfo
from pydantic_core import core_schema

from .capabilities import Capability, Operation, Region
from .money import Money, times
from .parameters import ImageCache, Parameters, open_images
from .problems import Problem, plain
from .profiles import Server
from .registry import row_of
from .results import Image
from .sizes import Size
from .validation import Values
from .wire import HTTPRequest, fingerprint_of

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | PILImage | Image
else:
    ImageSource = object
"""An image to send: a path, bytes, a binary file object, a PIL image, an `Image`, or a data URI."""

ResponseFormat = Literal["b64_json", "url"]


def _prints(value: object) -> bool:
    """Whether `value` may appear in a `repr`: it is not bytes, and its own `repr` does not raise."""
    if issubclass(type(value), bytes | bytearray | memoryview):
        return False
    try:
        repr(value)
    except Exception:  # noqa: BLE001 - a user's `__repr__` may raise anything
        return False
    return True


@cache
def _defaults(kind: type[BaseModel]) -> Mapping[str, Any]:
    """Return the defaults of a request's fields; a model that is not given is one that no table has."""
    return {name: None if field.is_required() else field.default for name, field in kind.model_fields.items()}


def _core_schema(kind: type[Any]) -> core_schema.CoreSchema:
    """Return pydantic's schema of a request class, whose functions import what they need when they are called.

    It has one validator and one serializer for the whole value, so that it is made quickly, the rules stay in the
    tables, and each error is the sentence that `problems()` has.
    """

    def validate(value: object) -> object:
        from .schemas.validation import validated

        return validated(kind, value)

    def write(request: Any, info: SerializationInfo) -> dict[str, object]:
        from .schemas.serialization import fields_of

        return fields_of(request, info)

    validate.__name__ = validate.__qualname__ = kind.__name__  # which unions name in their errors
    return core_schema.no_info_plain_validator_function(
        validate,
        ref=f"{kind.__module__}.{kind.__qualname__}:{id(kind)}",
        serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
    )


_NOT_PARAMETERS = frozenset({"model", "extra_body", "_memo"})
"""The fields of a request beside its parameters."""


class _Request(BaseModel):
    """The base of the three requests."""

    model_config = ConfigDict(frozen=True, extra="allow", arbitrary_types_allowed=True)

    operation: ClassVar[Operation]

    model: str
    prompt: str | None = None
    size: str | Size | None = None
    n: int | None = None
    response_format: ResponseFormat | None = "b64_json"
    seed: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    extra_body: Mapping[str, Any] | None = None

    if not TYPE_CHECKING:  # type checkers make the signature from the fields

        def __init__(self, /, **given: Any) -> None:
            """Accept any values, which `problems()` checks. `model_validate()` and JSON accept only valid ones."""
            defaults = _defaults(type(self))
            fields, extra = {**defaults, **given}, {}
            if len(fields) > len(defaults):
                extra = {name: fields.pop(name) for name in given if name not in defaults}
            object.__setattr__(self, "__dict__", fields)
            object.__setattr__(self, "__pydantic_fields_set__", set(given))
            object.__setattr__(self, "__pydantic_extra__", extra)
            object.__setattr__(self, "__pydantic_private__", None)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        from .schemas.validation import json_schema_of

        return json_schema_of(cast("Any", cls))

    @cached_property
    def _memo(self) -> ImageCache:
        return ImageCache()

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a request of the same type that asks for the same, images compared by their bytes.

        Images passed in different forms, such as a path and a data URI, are read for this.
        """
        if not isinstance(other, _Request) or type(other) is not type(self):
            return NotImplemented
        from .schemas.equality import are_equal

        return are_equal(cast("Any", self), cast("Any", other))

    def __hash__(self) -> int:
        from .schemas.equality import hash_of

        return hash_of(cast("Any", self))

    def __copy__(self) -> Self:
        copied = super().__copy__()
        # With a shared cache, a copy with another image would discard what this one has read.
        vars(copied)["_memo"] = copy(self._memo)
        return copied

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, value if _prints(value) else plain(value)

    @property
    def row(self) -> Capability | None:
        """The table's row for this model and operation; `None` if there is none."""
        return row_of(self.model, self.operation)

    def given(self) -> dict[str, object]:
        """The parameters that are given, by name, without `model` and `extra_body`."""
        return self.read().given

    def values(self) -> Values:
        """The parameters that are given, with every image read and looked at."""
        return self.read().values

    def read(self, server: Server | None = None) -> Parameters:
        """The parameters of this request as they are now, for a server of that profile; by default, StepFun's own."""
        fields = vars(self)  # each attribute access of a pydantic model is slow
        given = {name: value for name, value in fields.items() if name not in _NOT_PARAMETERS}
        if self.__pydantic_extra__:
            given.update(self.__pydantic_extra__)
        return Parameters(self.operation, fields["model"], given, fields["extra_body"], server, lambda: self._memo)

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems of this request; empty if it is valid. Nothing is sent.

        An image given as a file object is read, once; of one given as a path only the header is read.
        """
        return self.read().problems()

    def notices(self) -> tuple[str, ...]:
        """Return what is valid but will not have the expected effect; a client warns about each."""
        return self.read().notices()

    def price(self, region: Region = "international") -> Money | None:
        """Return what StepFun charges for this request in `region`, for all of its images; `None` if unknown.

        It is the price of the model and of the number of images sent, including `extra_body`.
        """
        purchase = self.read().purchase
        one = purchase.price(region)
        if one is None or purchase.images is None:
            return None
        return Money(times(one.amount, purchase.images), one.currency)

    def fingerprint(self) -> str:
        """Return 64 hex digits, equal only for equal requests.

        It is the SHA-256 of the endpoint, the model, all parameters sent and the bytes of the images; not
        of the base URL, the key or the place of an image.
        """
        return fingerprint_of(self.to_call())

    def to_call(self) -> HTTPRequest:
        """The request as it goes over the wire, whether it is valid or not."""
        return self.read().to_call()

    def open_images(self, given: Values) -> Values:
        """`given` with every image in it opened."""
        return open_images(given, self.row, self._memo)


class TextToImage(_Request):
    """Generate an image from a text prompt.

    >>> TextToImage(prompt="a lake", steps=99).problems()[0].nearest
    50
    """

    operation: ClassVar[Operation] = "text_to_image"

    model: str = "step-image-edit-2"
    negative_prompt: str | None = None
    text_mode: bool | None = None
    style_reference: Mapping[str, Any] | None = None


class ImageEdit(_Request):
    """Edit an image as the prompt says."""

    operation: ClassVar[Operation] = "edit"

    model: str = "step-image-edit-2"
    image: ImageSource | None = None
    negative_prompt: str | None = None
    text_mode: bool | None = None


class ImageToImage(_Request):
    """Generate a new image from an existing one."""

    operation: ClassVar[Operation] = "image_to_image"

    model: str = "step-2x-large"
    image: ImageSource | None = None
    source_weight: float | None = None


ImageRequest: TypeAlias = TextToImage | ImageEdit | ImageToImage
REQUESTS: Mapping[Operation, type[ImageRequest]] = {
    "text_to_image": TextToImage,
    "edit": ImageEdit,
    "image_to_image": ImageToImage,
}


def request_of(parameters: Parameters) -> ImageRequest:
    """Return the request value with these parameters."""
    given: dict[str, Any] = dict(parameters.given)
    if parameters.row is not None and "response_format" in parameters.row.rules:
        given.setdefault("response_format", None)
    return REQUESTS[parameters.operation](model=parameters.model, extra_body=parameters.extra_body, **given)
