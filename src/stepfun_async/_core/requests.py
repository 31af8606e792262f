"""The three requests as values: put anything in, ask `.problems()`, `.price()` and `.fingerprint()` offline."""

import math
import os
from collections.abc import Iterator, Mapping
from copy import copy
from functools import cache, cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, SerializationInfo
from pydantic_core import core_schema

from .._runtime.files import FileSource
from .capabilities import Capability, Money, Operation, Region
from .money import times
from .pictures import Bounds, Picture, Unreadable, is_read_once, look
from .problems import Problem, plain
from .registry import row_of
from .results import Image
from .rules import ImageInput, Integer, Rule, Style
from .servers import Server
from .sizes import Size
from .text import reason
from .validation import Values, body_problems, notices_of, problems_of, sides_of, turns_of, unknown_model
from .wire import HTTPRequest, fingerprint_of, to_call

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    PictureInput: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | PILImage | Image
else:
    PictureInput = object
"""A picture to send: a path, bytes, a binary file object, a PIL image, an `Image`, or a data URI."""

ResponseFormat = Literal["b64_json", "url"]


class _Memo:
    """Pictures already looked at, so that a file object is read once; never part of a request's value."""

    def __init__(self, seen: Mapping[str, tuple[object, object, object]] | None = None) -> None:
        self._seen = dict(seen or {})

    def look(self, name: str, value: object, rule: Rule | None) -> object:
        """What `value` is as a picture for a rule, remembered until one of them is another, or the file has changed."""
        seen = self._seen.get(name)
        if (
            seen is None
            or seen[0] is not value
            or (seen[1] is not rule and not is_read_once(value))
            or _has_changed(seen[2])
        ):
            seen = self._seen[name] = (value, rule, _looked(value, rule))
        return seen[2]

    def __copy__(self) -> Self:
        return type(self)(self._seen)


def _looked(value: object, rule: Rule | None) -> object:
    bounds: Bounds | None = rule if isinstance(rule, ImageInput) else None
    try:
        return look(value, bounds)
    except Exception as error:  # noqa: BLE001 - a user's methods may raise anything
        return Unreadable(f"it cannot be read: {reason(error)}")


def _parts_of(style: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", style) if isinstance(style, Mapping) else {}


class Purchase(NamedTuple):
    """The images that a request orders and the server charges.

    Attributes:
        model: the model's name, as sent; a description of anything else.
        operation: what is asked of it.
        pictures: how many images it may charge; `None` if the request does not determine it.
    """

    model: str
    operation: Operation
    pictures: int | None

    def price(self, region: Region) -> Money | None:
        """What StepFun charges for one of the pictures in `region`; None where it is not known."""
        row = row_of(self.model, self.operation)
        return row.prices.get(region) if row else None


def _model_name(model: object) -> str:
    return model if type(model) is str else str(plain(model))


def _purchase(operation: Operation, said: Mapping[Any, object]) -> Purchase:
    return Purchase(_model_name(said.get("model")), operation, _count(said.get("n")))


_UNREADABLE = "unreadable"
_TRUTHS = ("true", "false")
"""How forms say truth values."""


def _count(n: object) -> int | None:
    """Return the most images a server may make for `n`; `None` if that cannot be determined.

    Servers take whole numbers as numbers of either kind and as text. What they can only refuse counts as one.
    """
    kind = type(n)
    if n is None or kind is bool or (kind is str and n in _TRUTHS):
        return 1
    if issubclass(kind, int):
        return max(int.__int__(cast("int", n)), 1)
    try:
        number = float(str.__str__(cast("str", n)) if issubclass(kind, str) else float.__float__(cast("float", n)))
    except (TypeError, ValueError):  # neither text that is a number, nor a number
        return None
    return max(math.ceil(number), 1) if math.isfinite(number) else None


class Reading:
    """A snapshot of a request, so that it is checked and sent with the same values.

    Attributes:
        model: the model's name.
        operation: what is asked of it.
        extra_body: what is sent besides, unchecked.
        row: the table's row for it; None where there is none.
        given: the parameters that are given, by name.
        has_pictures: whether there are pictures among them, which may have to be read from a disk.

    Args:
        request: the request.
        server: the profile of the server that it is for; `None` for StepFun's own form.
    """

    __slots__ = (
        "_request",
        "_server",
        "_sound",
        "_values",
        "extra_body",
        "given",
        "has_pictures",
        "model",
        "operation",
        "row",
    )

    def __init__(self, request: "_Request", server: Server | None = None) -> None:
        fields = vars(request)  # each attribute of a pydantic model is dear
        self.model: str = fields["model"]
        self.operation: Operation = request.operation
        self.extra_body: Mapping[str, Any] | None = fields["extra_body"]
        self.row = row_of(self.model, self.operation, server)
        self.given = _given(fields, request.__pydantic_extra__, self.row)
        self.has_pictures = "image" in self.given or "style_reference" in self.given
        self._values: Values | None = None if self.has_pictures else self.given
        self._sound = False
        self._request = request
        self._server = server

    @property
    def values(self) -> Values:
        """The parameters, with every image read and opened."""
        if self._values is None:
            self._values = self._request.open_images(self.given, self.row)
        return self._values

    @property
    def lacks_seed(self) -> bool:
        """Whether a client is to draw the seed: none is given, and the server would use the same each time."""
        row, more = self.row, self.extra_body
        if row is None or not row.draws_seed or "seed" in self.given:
            return False
        return not isinstance(more, Mapping) or row.wire_names.get("seed", "seed") not in more

    @property
    def seed_sent(self) -> int | None:
        """The seed that the server was sent; `None` if it was sent none, or one that stands for a random one."""
        row, more = self.row, self.extra_body
        name = row.wire_names.get("seed", "seed") if row else "seed"
        seed = more[name] if isinstance(more, Mapping) and name in more else self.given.get("seed")
        rule = row.rules.get("seed") if row else None
        if seed == 0 and isinstance(rule, Integer) and rule.zero_is_random:
            return None
        return seed if type(seed) is int else None

    @property
    def purchase(self) -> Purchase:
        """What the server is asked to make and charge, as it is sent: `extra_body` goes over the parameters."""
        said: dict[object, object] = {"model": self.model, "n": self.given.get("n")}
        if self.extra_body is not None:
            try:
                said.update(self.extra_body)
            except Exception:  # noqa: BLE001 - a user's mapping that raises is a problem of `extra_body`
                said["n"] = _UNREADABLE
        return _purchase(self.operation, said)

    def bought_by(self, call: HTTPRequest) -> Purchase:
        """What `call`, which says this request, has a server make and charge."""
        return _purchase(self.operation, call.form if call.json is None else call.json)

    @property
    def subject(self) -> str:
        """Model and operation, for messages."""
        return f"{plain(self.model)} {self.operation}"

    def problems(self) -> tuple[Problem, ...]:
        """See `_Request.problems`."""
        if self.row is None:
            wrong: tuple[Problem, ...] = (unknown_model(self.model, self.operation, self._server),)
        else:
            wrong = problems_of(self.row, self.values, self.given)
            self._sound = not wrong
        return wrong if self.extra_body is None else (*wrong, *body_problems(self.extra_body))

    def unencodable(self) -> tuple[Problem, ...]:
        """The problems that make a request impossible to encode, even with validation off."""
        model: object = self.model
        named = () if type(model) is str else (Problem("model", plain(model), "the name of a model"),)
        return (*named, *body_problems(self.extra_body))

    def notices(self) -> tuple[str, ...]:
        """See `_Request.notices`."""
        return (*self.ineffective(), *self.turned())

    def ineffective(self) -> tuple[str, ...]:
        """Which parameters are valid, and have no effect."""
        try:
            return notices_of(self.row, self.values) if self.row else ()
        except Exception:  # noqa: BLE001 - a user's value that raises is a problem, not a notice
            return ()

    def turned(self) -> tuple[str, ...]:
        """What may come out turned: a size whose height comes first, and images that viewers turn."""
        sides = sides_of(self.row, self.given) if self.row and "size" in self.given else ()
        return (*sides, *turns_of(self.values)) if self.has_pictures else sides

    def to_call(self) -> HTTPRequest:
        """See `_Request.to_call`."""
        return to_call(self.model, self.operation, self.row, self.values, self.extra_body, known_good=self._sound)


def _given(
    fields: Mapping[str, object], more: Mapping[str, object] | None, row: Capability | None
) -> dict[str, object]:
    values = {name: value for name, value in fields.items() if value is not None and name not in _NOT_PARAMETERS}
    if more:
        values.update({name: value for name, value in more.items() if value is not None})
    if row is not None and "response_format" not in row.rules and _is_b64(values.get("response_format")):
        del values["response_format"]
    return values


def _is_b64(value: object) -> bool:
    return type(value) is str and value == "b64_json"


_NOT_PARAMETERS = frozenset({"model", "extra_body", "_memo"})
"""What a request holds beside its parameters."""


def _has_changed(picture: object) -> bool:
    source = picture.content if isinstance(picture, Picture) else None
    return isinstance(source, FileSource) and not source.is_current()


def _prints(value: object) -> bool:
    """Whether `value` may stand in a `repr`: no bytes, and nothing that raises there."""
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

    It has one validator and one serializer for the whole value, so that it is made in no time, the rules stay where
    they are, in the tables, and each error is the sentence that `problems()` has.
    """

    def validate(value: object) -> object:
        from .schemas.validation import validated

        return validated(kind, value)

    def write(request: Any, info: SerializationInfo) -> dict[str, object]:
        from .schemas.serialization import fields_of

        return fields_of(request, info)

    validate.__qualname__ = kind.__name__  # which unions name in their errors
    return core_schema.no_info_plain_validator_function(
        validate,
        ref=f"{kind.__module__}.{kind.__qualname__}:{id(kind)}",
        serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
    )


class _Request(BaseModel):
    """What the three requests share."""

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
            """Take any values; `problems()` judges them. `model_validate()` and JSON take valid ones only."""
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
    def _memo(self) -> _Memo:
        return _Memo()

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a request of the same type that asks for the same, images compared by their bytes.

        Images that were handed in differently, such as a path and a data URI, are read for this.
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
        # A copy with another picture would make this one forget what it read.
        vars(copied)["_memo"] = copy(self._memo)
        return copied

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, value if _prints(value) else plain(value)

    @property
    def row(self) -> Capability | None:
        """The table's row for this model and operation; None where there is none."""
        return row_of(self.model, self.operation)

    def given(self) -> dict[str, object]:
        """The parameters that are given, by name, without `model` and `extra_body`."""
        return _given(vars(self), self.__pydantic_extra__, self.row)

    def values(self) -> Values:
        """The parameters that are given, with every picture read and looked at."""
        return self.read().values

    def read(self, server: Server | None = None) -> Reading:
        """This request as it is now, for a server of that profile; `None` for StepFun's own form."""
        return Reading(self, server)

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
        if one is None or purchase.pictures is None:
            return None
        return Money(times(one.amount, purchase.pictures), one.currency)

    def fingerprint(self) -> str:
        """Return 64 hex digits, equal only for equal requests.

        It is the SHA-256 of the endpoint, the model, all parameters sent and the bytes of the images; not
        of the base URL, the key or the place of an image.
        """
        return fingerprint_of(self.to_call())

    def to_call(self) -> HTTPRequest:
        """The request as it goes over the wire, whether it is valid or not."""
        return self.read().to_call()

    def open_images(self, given: Values, row: Capability | None = None) -> Values:
        """`given` with every picture in it looked at, as the rules of `row` ask, or else of this request's own."""
        row = self.row if row is None else row
        rules: Mapping[str, Rule] = row.rules if row else {}
        looked = dict(given)
        if "image" in given:
            looked["image"] = self._memo.look("image", given["image"], rules.get("image"))
        if "style_reference" in given:
            rule = rules.get("style_reference")
            photo = rule.picture if isinstance(rule, Style) else None
            looked["style_reference"] = self._looked_style(given["style_reference"], photo)
        return looked

    def _looked_style(self, style: object, photo: Rule | None) -> object:
        try:
            parts = _parts_of(style)
            if "source_url" not in parts:
                return style
            return {**parts, "source_url": self._memo.look("style_reference", parts["source_url"], photo)}
        except Exception as error:  # noqa: BLE001 - a user's mapping may raise anything
            return Unreadable(f"it cannot be read: {reason(error)}")


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
    image: PictureInput | None = None
    negative_prompt: str | None = None
    text_mode: bool | None = None


class ImageToImage(_Request):
    """Generate a new image from an existing one."""

    operation: ClassVar[Operation] = "image_to_image"

    model: str = "step-2x-large"
    image: PictureInput | None = None
    source_weight: float | None = None


ImageRequest: TypeAlias = TextToImage | ImageEdit | ImageToImage
REQUESTS: Mapping[Operation, type[ImageRequest]] = {
    "text_to_image": TextToImage,
    "edit": ImageEdit,
    "image_to_image": ImageToImage,
}
