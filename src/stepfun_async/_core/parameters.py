"""The parameters of a request, and the one pass in which they are checked and converted to an `HTTPRequest`.

`generate` and its siblings make `Parameters` of their arguments, and the request values (`requests`) of their fields.
So a call needs no pydantic, unless its request is such a value or is passed to `on_event`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from .._runtime.files import FileSource
from .capabilities import Capability, Operation, Region
from .image_rules import ImageInput, Style
from .input_images import Bounds, InputImage, InvalidImage, is_read_once, load_image
from .money import Money
from .problems import Problem, plain
from .profiles import Server
from .registry import row_of
from .rules import Integer, Rule
from .text import reason
from .validation import Values, body_problems, convert, notices_of, sides_of, turns_of, unknown_model
from .wire import HTTPRequest, encode_json, to_request, unchecked


class ImageCache:
    """The opened images of one request, so that a file object is read only once."""

    def __init__(self, seen: Mapping[str, tuple[object, object, object]] | None = None) -> None:
        self._seen = dict(seen or {})

    def load(self, name: str, value: object, rule: Rule | None) -> object:
        """Open `value` as an image for a rule, again only if either is different or the file has changed."""
        seen = self._seen.get(name)
        if (
            seen is None
            or seen[0] is not value
            or (seen[1] is not rule and not is_read_once(value))
            or _has_changed(seen[2])
        ):
            seen = self._seen[name] = (value, rule, _load_or_refuse(value, rule))
        return seen[2]

    def __copy__(self) -> Self:
        return type(self)(self._seen)


def _load_or_refuse(value: object, rule: Rule | None) -> object:
    bounds: Bounds | None = rule if isinstance(rule, ImageInput) else None
    try:
        return load_image(value, bounds)
    except Exception as error:  # noqa: BLE001 - a user's methods may raise anything
        return InvalidImage(f"it cannot be read: {reason(error)}")


@dataclass(slots=True)
class Purchase:
    """The images that a request orders and the server charges.

    Attributes:
        model: the model's name, as sent; a description of anything else.
        operation: what is asked of it.
        images: the number of images it may charge; `None` if the request does not determine it.
    """

    model: str
    operation: Operation
    images: int | None

    def price(self, region: Region) -> Money | None:
        """Return the price of one of the images in `region`; `None` if unknown."""
        row = row_of(self.model, self.operation)
        return row.prices.get(region) if row else None


def _model_name(model: object) -> str:
    return model if type(model) is str else str(plain(model))


def _purchase(operation: Operation, said: Mapping[Any, object]) -> Purchase:
    return Purchase(_model_name(said.get("model")), operation, _count(said.get("n")))


_UNREADABLE = "unreadable"
_TRUTHS = ("true", "false")
"""The texts of truth values in forms."""


def _count(n: object) -> int | None:
    """Return the most images a server may make for `n`; `None` if that cannot be determined.

    Servers take whole numbers as numbers of either kind and as text. Values that they can only refuse count as one.
    """
    kind = type(n)
    if n is None or kind is bool or (kind is str and n in _TRUTHS):
        return 1
    if issubclass(kind, int):
        return max(int.__int__(cast("int", n)), 1)
    try:
        number = float(str.__str__(cast("str", n)) if issubclass(kind, str) else float.__float__(cast("float", n)))
    except (TypeError, ValueError):  # neither a number nor the text of one
        return None
    return max(math.ceil(number), 1) if math.isfinite(number) else None


class Parameters:
    """The parameters of one request: a snapshot, so that it is checked and sent with the same values.

    Args:
        operation: the operation.
        model: the model's name.
        given: the parameters by name; `None` is left out.
        extra_body: further fields to send, unchecked.
        server: the profile of the server that they are for; `None` for StepFun's own form.
        images: returns the cache of opened images of a request value; by default there is a new one.

    Attributes:
        row: the row of the model table; `None` if there is none.
        has_images: whether there are images among the parameters, which may have to be read from a disk.
    """

    __slots__ = ("_images", "_opened", "_server", "extra_body", "given", "has_images", "model", "operation", "row")

    def __init__(
        self,
        operation: Operation,
        model: str,
        given: Mapping[str, object],
        extra_body: Mapping[str, Any] | None = None,
        server: Server | None = None,
        images: Callable[[], ImageCache] | None = None,
    ) -> None:
        self.operation: Operation = operation
        self.model = model
        self.row = row_of(model, operation, server)
        self.given = {name: value for name, value in given.items() if value is not None}
        self.extra_body = extra_body
        self.has_images = "image" in self.given or "style_reference" in self.given
        self._server = server
        self._images = images or ImageCache
        self._opened: Values | None = None if self.has_images else self.given
        has_format = self.row is None or "response_format" in self.row.rules
        if not has_format and _is_b64(self.given.get("response_format")):
            del self.given["response_format"]

    @property
    def may_block(self) -> bool:
        """Whether preparing them may take long: an image is read from a disk, or encoded. Not so bytes in a form."""
        return self.has_images and not (
            type(self.given.get("image")) is bytes
            and self.row is not None
            and self.row.endpoint.body == "form"
            and "style_reference" not in self.given
        )

    @property
    def values(self) -> Values:
        """Return the parameters, with every image read and opened."""
        if self._opened is None:
            self._opened = open_images(self.given, self.row, self._images())
        return self._opened

    @property
    def subject(self) -> str:
        """The model and the operation, for messages."""
        return f"{plain(self.model)} {self.operation}"

    @property
    def lacks_seed(self) -> bool:
        """Whether a client is to draw the seed: none is given, and the server would use the same each time."""
        row, more = self.row, self.extra_body
        if row is None or not row.draws_seed or "seed" in self.given:
            return False
        return not isinstance(more, Mapping) or row.wire_names.get("seed", "seed") not in more

    @property
    def seed_sent(self) -> int | None:
        """The seed that the server is sent; `None` if it is sent none, or one that stands for a random one."""
        row, more = self.row, self.extra_body
        seed = self.given["seed"] if "seed" in self.given else None
        if more is not None:
            name = row.wire_names.get("seed", "seed") if row else "seed"
            seed = more[name] if name in more else seed
        if seed is None:
            return None
        rule = row.rules.get("seed") if row else None
        if seed == 0 and isinstance(rule, Integer) and rule.zero_is_random:
            return None
        return seed if type(seed) is int else None

    # --- the way to a request

    def prepare(self, *, encode: bool = True) -> tuple[HTTPRequest | None, tuple[Problem, ...]]:
        """Check and convert each parameter once. Return the request, or all problems that there are.

        Args:
            encode: whether to encode a request of plain values, once for all attempts.

        Raises:
            InvalidRequestError: an image cannot be read.
        """
        row, extra_body = self.row, self.extra_body
        if row is None:
            return None, (unknown_model(self.model, self.operation, self._server), *body_problems(extra_body))
        values = self.values if self._opened is None else self._opened
        wire, problems = convert(row, values, self.given)
        if extra_body is not None:
            problems = (*problems, *body_problems(extra_body))
        if problems:
            return None, problems
        request = to_request(self.model, self.operation, row, wire, extra_body)
        if encode and request.json is not None and extra_body is None and not self.has_images:
            request.content = encode_json(request.json)
        return request, ()

    def prepare_unchecked(self) -> tuple[HTTPRequest | None, tuple[Problem, ...]]:
        """Convert the parameters, with validation off. Return the request, or what cannot be encoded at all.

        Raises:
            InvalidRequestError: an image cannot be read, or a value has no form in JSON.
        """
        model: object = self.model
        named = () if type(model) is str else (Problem("model", plain(model), "the name of a model"),)
        if problems := (*named, *body_problems(self.extra_body)):
            return None, problems
        request = self.to_call()
        # Otherwise a value that cannot be encoded would be noticed too late.
        encode_json(request.json or dict(request.form))
        return request, ()

    def to_call(self) -> HTTPRequest:
        """The request as it goes over the wire, whether it is valid or not."""
        wire = unchecked(self.operation, self.row, self.values)
        return to_request(self.model, self.operation, self.row, wire, self.extra_body)

    # --- what there is to say about it

    def problems(self) -> tuple[Problem, ...]:
        """See `TextToImage.problems`."""
        if self.row is None:
            wrong: tuple[Problem, ...] = (unknown_model(self.model, self.operation, self._server),)
        else:
            wrong = convert(self.row, self.values, self.given)[1]
        return wrong if self.extra_body is None else (*wrong, *body_problems(self.extra_body))

    def notices(self) -> tuple[str, ...]:
        """See `TextToImage.notices`."""
        return (*self.ineffective(), *self.turned())

    def ineffective(self) -> tuple[str, ...]:
        """Return notices on the valid parameters without an effect."""
        if self.row is None or not (self.row.notable or "negative_prompt" in self.given):
            return ()
        try:
            return notices_of(self.row, self.values)
        except Exception:  # noqa: BLE001 - a user's value that raises is a problem, not a notice
            return ()

    def turned(self) -> tuple[str, ...]:
        """Return what may be rotated, in words: sizes whose height comes first, and images that viewers rotate."""
        sides = sides_of(self.row, self.given) if self.row and self.row.turning else ()
        return (*sides, *turns_of(self.values)) if self.has_images else sides

    @property
    def purchase(self) -> Purchase:
        """The images ordered from the server, as sent: `extra_body` overrides the parameters."""
        said: dict[object, object] = {"model": self.model, "n": self.given.get("n")}
        if self.extra_body is not None:
            try:
                said.update(self.extra_body)
            except Exception:  # noqa: BLE001 - a user's mapping that raises is a problem of `extra_body`
                said["n"] = _UNREADABLE
        return _purchase(self.operation, said)

    def bought_by(self, request: HTTPRequest) -> Purchase:
        """Return the images that `request`, made from these parameters, orders from a server."""
        model: object = self.model
        if self.extra_body is None and "n" not in self.given and type(model) is str:
            return Purchase(self.model, self.operation, 1)
        return _purchase(self.operation, request.form if request.json is None else request.json)


def open_images(given: Values, row: Capability | None, cache: ImageCache) -> Values:
    """`given` with every image in it opened."""
    rules: Mapping[str, Rule] = row.rules if row else {}
    opened = dict(given)
    if "image" in given:
        opened["image"] = cache.load("image", given["image"], rules.get("image"))
    if "style_reference" in given:
        rule = rules.get("style_reference")
        opened["style_reference"] = _opened_style(
            given["style_reference"], rule.image if isinstance(rule, Style) else None, cache
        )
    return opened


def _opened_style(style: object, rule: Rule | None, cache: ImageCache) -> object:
    try:
        parts = _parts_of(style)
        if "source_url" not in parts:
            return style
        return {**parts, "source_url": cache.load("style_reference", parts["source_url"], rule)}
    except Exception as error:  # noqa: BLE001 - a user's mapping may raise anything
        return InvalidImage(f"it cannot be read: {reason(error)}")


def _parts_of(style: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", style) if isinstance(style, Mapping) else {}


def _is_b64(value: object) -> bool:
    return type(value) is str and value == "b64_json"


def _has_changed(image: object) -> bool:
    source = image.content if isinstance(image, InputImage) else None
    return isinstance(source, FileSource) and not source.is_current()
