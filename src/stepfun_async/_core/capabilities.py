"""The model tables: one frozen row for each model and operation.

All that depends on a model reads these rows: validation, the wire form, defaults, the embedded
engine, the command line's help, the tables in the docs, and the tests. A change of a fact is a
change of one cell here. `registry` looks rows up and adds those of other servers' models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, NewType

from .image_rules import ImageInput, Style
from .money import Money
from .rules import Boolean, Choice, Ignored, Integer, Number, Rule, Text
from .size_rules import AnySize, Sizes
from .sizes import Size

Operation = Literal["text_to_image", "edit", "image_to_image"]
Region = Literal["international", "china"]

CustomModel = NewType("CustomModel", str)
"""The name of a model outside the tables, for type checkers: what `register_model` returns."""

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "overview": "StepFun documentation, 'Model overview' (image models)",
        "generations": "StepFun documentation, 'Generate images' endpoint",
        "docs 2026-06": "StepFun documentation as published in 2026-06",
        "docs 2026-09": "StepFun documentation as published in 2026-09",
        "prices 2026-10": "StepFun price list as published in 2026-10",
        "limits 2026-10": "StepFun prices and limits (China) as published on 2026-10-07",
        "issue 148": "stepfun-ai/Step1X-Edit on GitHub, issue 148: the project's reply of 2026-09-20",
        "registered": "given to register_model()",
        "server": "the server's profile: stepfun-async servers NAME",
        "diffusers": "the signature of the model's pipeline in diffusers",
    }
)
"""The documents of facts, by the key in rows and rules."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The path of an operation, and the encoding of its body."""

    path: str
    body: Literal["json", "form"]


ENDPOINTS: Mapping[Operation, Endpoint] = MappingProxyType(
    {
        "text_to_image": Endpoint("/images/generations", "json"),
        "edit": Endpoint("/images/edits", "form"),
        "image_to_image": Endpoint("/images/image2image", "json"),
    }
)


WIRE_NAMES: Mapping[Operation, Mapping[str, str]] = MappingProxyType(
    {
        "text_to_image": MappingProxyType({}),
        "edit": MappingProxyType({}),
        "image_to_image": MappingProxyType({"image": "source_url"}),
    }
)
"""StepFun's names of parameters that differ from the SDK's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """The lifecycle of a model on StepFun's own hosts. It does not apply to other servers.

    Attributes:
        ends: the first day on which it is no longer served; `None` if it already ended on an unknown day.
        successor: the model that StepFun names to go on with; `None` if it names none.
        source: where this is documented, a key of `SOURCES`.
        paused: the source that says that the end is not for good, a key of `SOURCES`; empty if none does.
    """

    ends: date | None
    successor: str | None
    source: str
    paused: str = ""

    def over(self, today: date) -> bool:
        """Whether StepFun's own hosts have stopped serving the model by `today`."""
        return self.ends is None or today >= self.ends


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Capability:
    """The parameters and rules of one model for one operation.

    Attributes:
        model: the model's name on the wire.
        operation: `text_to_image`, `edit` or `image_to_image`.
        rules: for each parameter the model has, what is allowed; in the documented order.
        prices: what one image costs, by region; a region that is missing is not known.
        price_source: where the prices are documented, a key of `SOURCES`.
        lifecycle: until when StepFun's own hosts serve it; `None` if no end is known.
        step_plan: whether the Step Plan subscription serves it.
        source: where the row is documented, a key of `SOURCES`.
        served_at: where the operation is sent, if that is not StepFun's endpoint for it.
        renamed: the wire's names, if they are not StepFun's.
        server: the server profile that the row was adapted to; empty for StepFun's own form.
        endpoint: where the operation is sent.
        wire_names: what the wire calls a parameter, where it differs from the SDK's name.
        tag: the tag in the prompt that holds the parameters for which the body has no field, as sd-server
            reads them; empty where the body has them all. Their wire names have a dot where they are nested.
        notable: the parameters that may do something else than they seem to say.
        turning: whether its wire sizes begin with the height.
        required: the parameters without which a request is rejected.
        draws_seed: whether a client draws a seed if none is given, since the server would use the same each time.
    """

    model: str
    operation: Operation
    rules: Mapping[str, Rule]
    prices: Mapping[Region, Money] = field(default_factory=lambda: MappingProxyType({}))
    price_source: str = ""
    lifecycle: Lifecycle | None = None
    step_plan: bool = False
    source: str = ""
    server: str = ""
    served_at: Endpoint | None = field(default=None)
    renamed: Mapping[str, str] | None = field(default=None)
    tag: str = field(default="")
    endpoint: Endpoint = field(init=False, compare=False)
    wire_names: Mapping[str, str] = field(init=False, compare=False)
    notable: tuple[str, ...] = field(init=False, compare=False)
    required: tuple[str, ...] = field(init=False, compare=False)
    turning: bool = field(init=False, compare=False)
    draws_seed: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        seed = self.rules.get("seed")
        computed = {
            "endpoint": self.served_at or ENDPOINTS[self.operation],
            "wire_names": WIRE_NAMES[self.operation] if self.renamed is None else self.renamed,
            "notable": tuple(name for name, rule in self.rules.items() if rule.notable),
            "turning": bool(getattr(self.rules.get("size"), "turning", None)),
            "required": tuple(name for name, rule in self.rules.items() if rule.required),
            "draws_seed": isinstance(seed, Integer) and seed.drawn,
        }
        for name, value in computed.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        renamed = None if self.renamed is None else dict(self.renamed)
        return _remade, ({**facts, "rules": dict(self.rules), "prices": dict(self.prices), "renamed": renamed},)

    def __repr__(self) -> str:
        prices = " or ".join(str(price) for price in self.prices.values()) or "price not known"
        return f"<Capability {self.model} {self.operation}: {len(self.rules)} parameters, {prices}>"

    def __str__(self) -> str:
        """The row for people: a line for each parameter."""
        width = max(map(len, self.rules), default=0)
        lines = [f"  {name:{width}}  {_describe(rule)}" for name, rule in self.rules.items()]
        prices = ", ".join(str(price) for price in self.prices.values()) or "not known"
        return "\n".join([f"{self.model}: {self.operation} (price: {prices})", *lines])

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of a request to this model, as its fields are written in JSON.

        It says what the row accepts: required fields, sizes with their shape in words, ranges, lengths in code points,
        defaults, units and sources. `docs/schemas.md` lists what no schema can say, such as what is in an image's file.

        >>> from jsonschema import validate
        >>> row = capabilities("step-2x-large", "text_to_image")
        >>> validate({"prompt": "a lake", "size": "16:10"}, row.json_schema())
        >>> row.json_schema()["properties"]["steps"]["maximum"]
        50
        """
        from .schemas.rows import DIALECT, request_schema

        return {"$schema": DIALECT, **request_schema(self)}

    @property
    def sizes(self) -> Sizes | None:
        """The rule for `size`, where the model has a list of them."""
        rule = self.rules.get("size")
        return rule if isinstance(rule, Sizes) else None

    @property
    def size_rule(self) -> Sizes | AnySize | None:
        """The rule for `size`, where it has an effect."""
        rule = self.rules.get("size")
        return rule if isinstance(rule, Sizes | AnySize) else None


class Capabilities(tuple[Capability, ...]):
    """Rows of the model tables, which print as such."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(" + "".join(f"\n {row!r}," for row in self) + "\n)"

    def __str__(self) -> str:
        """The rows for people, each with a line for each parameter."""
        return "\n\n".join(map(str, self))


def _remade(facts: dict[str, Any]) -> Capability:
    """A row out of a pickle."""
    mappings = ("rules", "prices", "renamed")
    frozen: dict[str, Any] = {name: MappingProxyType(facts[name]) for name in mappings if facts[name] is not None}
    return Capability(**(facts | frozen))


def _describe(rule: Rule) -> str:
    if rule.required:
        return f"{rule.allowed}; required"
    return f"{rule.allowed}; default {rule.shown_default}" if rule.shown_default else rule.allowed


def _rules(**rules: Rule) -> Mapping[str, Rule]:
    return MappingProxyType(rules)


_MEGABYTE = 1024 * 1024
_LARGEST_4096 = 160 * _MEGABYTE
"""Bytes of a 4096x4096 image of four channels of 16 bits, 128 MiB, and 32 MiB for what else is in its file."""

_SEED_MAX = 2**31 - 1

_PROMPT = Text(required=True, minimum=1, maximum=512, source="generations")
_LONG_PROMPT = Text(required=True, minimum=1, maximum=1024, source="docs 2026-06")
_FORMAT = Choice(options=("url", "b64_json"), default="url", source="generations")
_SEED = Integer(minimum=0, maximum=_SEED_MAX, source="generations", note="absent: random")
_SEED_1X = Integer(minimum=0, maximum=_SEED_MAX, zero_is_random=True, source="docs 2026-06", note="absent or 0: random")
_ONE = Integer(minimum=1, maximum=1, default=1, source="overview")


def _steps(maximum: int, default: int, source: str = "docs 2026-06") -> Integer:
    return Integer(minimum=1, maximum=maximum, default=default, source=source)


def _guidance(default: float, source: str = "docs 2026-06") -> Number:
    return Number(minimum=1.0, maximum=10.0, default=default, source=source)


_EDIT_2_SIZES = Sizes(
    options=(
        Size(width=1024, height=1024),
        Size(width=1360, height=768),
        Size(width=1184, height=896),
        Size(width=768, height=1360),
        Size(width=896, height=1184),
    ),
    order="height x width",
    default="1024x1024",
    source="generations",
    note="the API writes them as HEIGHTxWIDTH",
)
_STEP_SIZES = Sizes(
    options=(
        Size(width=256, height=256),
        Size(width=512, height=512),
        Size(width=768, height=768),
        Size(width=1024, height=1024),
        Size(width=1280, height=800),
        Size(width=800, height=1280),
    ),
    default="1024x1024",
    source="overview",
)
_EDIT_1X_SIZES = Sizes(
    options=tuple(Size(width=side, height=side) for side in (512, 768, 1024)),
    default="512x512",
    source="docs 2026-06",
    note="exact for a square image, otherwise the image's ratio at about that area",
)
_SOURCE_IMAGE = ImageInput(
    required=True,
    formats=("png", "jpeg"),
    max_bytes=10 * _MEGABYTE,
    max_side=2048,
    links=True,
    source="docs 2026-06",
)
_SOURCE_WEIGHT = Number(
    required=True,
    minimum=0.0,
    above=True,
    maximum=1.0,
    source="docs 2026-06",
    note="smaller: closer to the source",
)
_STYLE = Style(
    image=ImageInput(formats=("png", "jpeg"), max_bytes=10 * _MEGABYTE, max_side=65535, links=True),
    weight=Number(minimum=0.0, above=True, maximum=2.0, default=1.0, note="larger: closer to the reference"),
    source="docs 2026-06",
)
_NEGATIVE = Text(
    minimum=0,
    maximum=512,
    default="",
    source="generations",
    note="has no effect while cfg_scale is 1.0",
)
_TEXT_MODE = Boolean(default=False, source="generations")

_ANNOUNCED_END = Lifecycle(ends=date(2026, 10, 10), successor=None, source="docs 2026-09")
_PAUSE = replace(_ANNOUNCED_END, paused="issue 148")
_MEDIUM_END = Lifecycle(ends=date(2026, 7, 8), successor="step-2x-large", source="docs 2026-06")
_EDIT_1X_END = Lifecycle(ends=None, successor=None, source="docs 2026-09")


def _prices(usd: str, cny: str) -> Mapping[Region, Money]:
    return MappingProxyType({"international": Money(Decimal(usd), "USD"), "china": Money(Decimal(cny), "CNY")})


_EDIT_2: dict[str, Any] = {
    "model": "step-image-edit-2",
    "prices": _prices("0.003", "0.02"),
    "price_source": "prices 2026-10",
    "lifecycle": _PAUSE,
    "step_plan": True,
    "source": "generations",
}
_LARGE: dict[str, Any] = {
    "model": "step-2x-large",
    "prices": _prices("0.02", "0.1"),
    "price_source": "prices 2026-10",
    "lifecycle": _ANNOUNCED_END,
    "source": "overview",
}
_MEDIUM: dict[str, Any] = {"model": "step-1x-medium", "lifecycle": _MEDIUM_END, "source": "overview"}
_EDIT_1X: dict[str, Any] = {
    "model": "step-1x-edit",
    "prices": _prices("0", "0"),
    "price_source": "prices 2026-10",
    "lifecycle": _EDIT_1X_END,
    "source": "overview",
}


@dataclass(frozen=True, slots=True)
class Tier:
    """The limits of an account of one tier of StepFun's.

    Attributes:
        max_concurrency: requests in flight.
        requests_per_minute: requests in a minute.
    """

    max_concurrency: int
    requests_per_minute: int


TIERS: Mapping[Region, Mapping[str, Tier]] = MappingProxyType(
    {
        "international": MappingProxyType(  # docs 2026-09
            {
                "V0": Tier(5, 100),
                "V1": Tier(20, 400),
                "V2": Tier(30, 600),
                "V3": Tier(40, 800),
                "V4": Tier(130, 2_600),
            }
        ),
        "china": MappingProxyType(  # V0 and V5: docs 2026-06; V1 to V4: limits 2026-10
            {
                "V0": Tier(5, 10),
                "V1": Tier(20, 400),
                "V2": Tier(30, 600),
                "V3": Tier(40, 800),
                "V4": Tier(130, 2_600),
                "V5": Tier(10_000, 200_000),
            }
        ),
    }
)
"""The limits of an account by region and tier; the Step Plan has a monthly credit instead."""

BUILT_IN = (
    Capability(
        **_EDIT_2,
        operation="text_to_image",
        rules=_rules(
            prompt=_PROMPT,
            size=_EDIT_2_SIZES,
            n=replace(_ONE, source="generations"),
            response_format=_FORMAT,
            seed=_SEED,
            steps=_steps(50, 8, "generations"),
            cfg_scale=_guidance(1.0, "generations"),
            negative_prompt=_NEGATIVE,
            text_mode=_TEXT_MODE,
        ),
    ),
    Capability(
        **_LARGE,
        operation="text_to_image",
        rules=_rules(
            prompt=_PROMPT,
            size=_STEP_SIZES,
            n=_ONE,
            response_format=_FORMAT,
            seed=_SEED_1X,
            steps=_steps(50, 50),
            cfg_scale=_guidance(6.0),
        ),
    ),
    Capability(
        **_MEDIUM,
        operation="text_to_image",
        rules=_rules(
            prompt=_PROMPT,
            size=_STEP_SIZES,
            n=_ONE,
            response_format=_FORMAT,
            seed=_SEED_1X,
            steps=_steps(50, 50),
            cfg_scale=_guidance(7.5),
            style_reference=_STYLE,
        ),
    ),
    Capability(
        **_EDIT_2,
        operation="edit",
        rules=_rules(
            image=ImageInput(
                required=True,
                formats=("png", "jpeg", "webp"),
                max_bytes=_LARGEST_4096,
                max_side=4096,
                source="docs 2026-06",
                note="formats: those of step-1x-edit; none are documented, nor is a limit of bytes: "
                "4096x4096 pixels have no more, even of 16 bits and without compression",
            ),
            prompt=_PROMPT,
            size=Ignored(source="docs 2026-06", effect="has no effect: the result has the size of the image sent"),
            response_format=_FORMAT,
            seed=_SEED,
            steps=_steps(50, 8),
            cfg_scale=_guidance(1.0),
            negative_prompt=_NEGATIVE,
            text_mode=_TEXT_MODE,
        ),
    ),
    Capability(
        **_EDIT_1X,
        operation="edit",
        rules=_rules(
            image=ImageInput(
                required=True,
                formats=("png", "jpeg", "webp"),
                max_bytes=10 * _MEGABYTE,
                min_side=64,
                max_side=4096,
                max_ratio=3.0,
                source="docs 2026-06",
            ),
            prompt=_PROMPT,
            size=_EDIT_1X_SIZES,
            response_format=_FORMAT,
            seed=_SEED_1X,
            steps=_steps(50, 28),
            cfg_scale=_guidance(6.0),
        ),
    ),
    Capability(
        **_LARGE,
        operation="image_to_image",
        rules=_rules(
            image=_SOURCE_IMAGE,
            prompt=_LONG_PROMPT,
            source_weight=_SOURCE_WEIGHT,
            size=_STEP_SIZES,
            n=_ONE,
            response_format=_FORMAT,
            seed=_SEED_1X,
            steps=_steps(100, 50),
            cfg_scale=_guidance(6.0),
        ),
    ),
    Capability(
        **_MEDIUM,
        operation="image_to_image",
        rules=_rules(
            image=_SOURCE_IMAGE,
            prompt=_LONG_PROMPT,
            source_weight=_SOURCE_WEIGHT,
            size=_STEP_SIZES,
            n=_ONE,
            response_format=_FORMAT,
            seed=_SEED_1X,
            steps=_steps(100, 50),
            cfg_scale=_guidance(7.5),
        ),
    ),
)
