"""Pydantic classes for single rows of the model tables: `request_type`."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, cast, overload

from pydantic import BaseModel, Field

from ..capabilities import Capability, Operation
from ..errors import ConfigurationError
from ..registry import capabilities
from ..requests import REQUESTS, ImageEdit, ImageRequest, ImageToImage, TextToImage
from ..rules import Choice, Integer, Number, Rule, Text
from ..size_rules import Sizes
from ..sizes import Size
from .rows import USUAL_FORMAT
from .rules import MEANINGS
from .validation import raise_problems

_made: dict[tuple[str, Operation], tuple[Capability, type[ImageRequest]]] = {}
"""The classes made so far, each with its row: a model that is registered again gets a new one."""


class _RowType(type(BaseModel)):  # type: ignore[misc] # pydantic's metaclass, by its public way
    """The metaclass of request classes for one row, so that they print and pickle by the row's name."""

    row: Capability

    def __repr__(cls) -> str:
        return f"request_type({cls.row.model!r}, {cls.row.operation!r})"


def _restore(model: str, operation: Operation) -> type[ImageRequest]:
    return request_type(model, operation)


def _reduce(made: _RowType) -> Any:
    return _restore, (made.row.model, made.row.operation)


copyreg.pickle(_RowType, _reduce)


class _OfOneRow:
    """A mixin of the classes made by `request_type`, which accept only valid values."""

    def __init__(self, /, **given: Any) -> None:
        super().__init__(**given)
        raise_problems(cast("Any", type(self)), cast("Any", self))


@overload
def request_type(model: str, operation: Literal["text_to_image"]) -> type[TextToImage]: ...
@overload
def request_type(model: str, operation: Literal["edit"]) -> type[ImageEdit]: ...
@overload
def request_type(model: str, operation: Literal["image_to_image"]) -> type[ImageToImage]: ...
@overload
def request_type(model: str, operation: Operation) -> type[ImageRequest]: ...
def request_type(model: str, operation: Operation) -> type[ImageRequest]:
    """Return the pydantic class of the requests that a model takes for an operation, made from its row of the tables.

    It is a subclass of `TextToImage`, `ImageEdit` or `ImageToImage`, with the row's constraints and its model as
    default. To construct one with invalid values raises pydantic's `ValidationError`, each error at its field. The
    same class is returned until `register_model()` changes the row. The row is that of the table, as StepFun's own
    hosts accept it: it is not adapted to another server's profile, which may accept fewer parameters.

    Args:
        model: the model's name.
        operation: `text_to_image`, `edit` or `image_to_image`.

    Raises:
        ConfigurationError: the tables have no such model, or the model does not have that operation.

    >>> request_type("step-2x-large", "text_to_image")
    request_type('step-2x-large', 'text_to_image')
    >>> request_type("step-2x-large", "text_to_image")(prompt="a lake", steps=20).price()
    Money(amount=Decimal('0.02'), currency='USD')
    """
    if operation not in REQUESTS:
        raise ConfigurationError(f"no operation {operation!r}; there are: {', '.join(REQUESTS)}")
    row = capabilities(model, operation)
    known = _made.get((row.model, operation))
    if known is None or known[0] is not row:
        known = _made[row.model, operation] = (row, _made_from(row))
    return known[1]


def _made_from(row: Capability) -> type[ImageRequest]:
    base = REQUESTS[row.operation]
    make: Any = _RowType
    names = {"row": ClassVar[Capability], "model": Literal[row.model]}
    hints = {name: _hint(base, name, row.rules.get(name)) for name in base.model_fields if name in row.rules}
    absent = sorted(base.model_fields.keys() - row.rules.keys() - _EVERY_REQUEST)
    return cast(
        "type[ImageRequest]",
        make(
            _class_name(row),
            (_OfOneRow, base),
            {
                "__module__": base.__module__,
                "__doc__": f"{base.__doc__ or ''}".split(".")[0] + f" with {row.model}: a request that its row allows.",
                "__annotations__": {**names, **dict.fromkeys(absent, type(None)), **hints},
                "row": row,
                "model": row.model,
                **dict.fromkeys(name for name in (*absent, *hints) if not row.rules.get(name, _OPTIONAL).required),
                "response_format": USUAL_FORMAT,
            },
        ),
    )


_OPTIONAL = Rule()

_EVERY_REQUEST = frozenset({"model", "response_format", "extra_body"})
"""Fields that requests to every model have."""


def _class_name(row: Capability) -> str:
    words = re.findall(r"[A-Za-z0-9]+", row.model)
    name = "".join(word[:1].upper() + word[1:] for word in words) + REQUESTS[row.operation].__name__
    return name if name.isidentifier() else f"Model{name}"


def _hint(base: type[ImageRequest], name: str, rule: Rule | None) -> Any:
    """Return the annotation of a field, with the constraints of its rule as metadata."""
    make = _HINTS.get(type(rule)) if rule is not None else None
    plain: Any = base.model_fields[name].annotation
    hint = plain if make is None else make(rule)
    described = Field(description=MEANINGS.get(name))
    return Annotated[hint if rule is not None and rule.required else hint | None, described]


def _number(rule: Number) -> Any:
    lowest = Field(gt=rule.minimum) if rule.above else Field(ge=rule.minimum)
    return Annotated[float, lowest, Field(le=rule.maximum)]


def _sizes(rule: Sizes) -> Any:
    return Literal[(*rule.wire_options, *rule.ratios)] | Size


_HINTS: Mapping[type[Rule], Callable[[Any], Any]] = MappingProxyType(
    {
        Text: lambda rule: Annotated[str, Field(min_length=rule.minimum, max_length=rule.maximum)],
        Integer: lambda rule: Annotated[int, Field(ge=rule.minimum, le=rule.maximum)],
        Number: _number,
        Choice: lambda rule: Literal[rule.options],
        Sizes: _sizes,
    }
)
"""The annotation of each kind of rule that has constraints."""
