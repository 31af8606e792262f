"""The API's parameters in terms of a pipeline, by the signature of its class.

Only named parameters count: some pipelines accept any others and ignore them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from stepfun_async._core.capabilities import Capability, Operation, Region
from stepfun_async._core.image_rules import ImageInput
from stepfun_async._core.money import NOTHING, Money
from stepfun_async._core.rules import Choice, Integer, Number, Rule, Text
from stepfun_async._core.size_rules import AnySize
from stepfun_async._core.sizes import Size
from stepfun_async._core.validation import Values
from stepfun_async.embedded.backend import NotMadeError

SOURCE = "diffusers"
"""The source of the rows, a key of `SOURCES`."""

MULTIPLE = 16
"""The pixels that the sides of an image must be a multiple of: 8 or 16, by the model."""

_FREE: Mapping[Region, Money] = MappingProxyType(
    {"international": Money(NOTHING, "USD"), "china": Money(NOTHING, "CNY")}
)
_UNFIT: Mapping[str, str] = MappingProxyType(
    {
        "audio": "makes sound",
        "video": "makes videos",
        "num_frames": "makes videos",
        "mask_image": "needs a mask",
        "control": "needs an image to control it with",
    }
)
"""Prefixes of parameters that pipelines for other purposes have, and the purpose."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters that a pipeline accepts.

    Attributes:
        name: the name of its class.
        defaults: its named parameters and their defaults.
        distilled: whether the guidance was distilled into its weights (Flux), so that `guidance_scale` feeds it to
            the model.
    """

    name: str
    defaults: Mapping[str, Any]
    distilled: bool = False

    @classmethod
    def of(cls, pipeline: Callable[..., Any], *, distilled: bool = False) -> Signature:
        """Read the signature of a pipeline, or of its class."""
        kind: type = pipeline if isinstance(pipeline, type) else pipeline.__class__
        call: Callable[..., Any] = kind.__call__
        named = {
            name: parameter.default
            for name, parameter in inspect.signature(call).parameters.items()
            if name != "self" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        return cls(kind.__name__, MappingProxyType(named), distilled)

    def takes(self, name: str) -> bool:
        """Whether it has a parameter."""
        return name in self.defaults

    def default(self, name: str) -> Any:
        """Return the default of a parameter; `None` if it has none."""
        default = self.defaults.get(name)
        return None if default is inspect.Parameter.empty else default

    @property
    def guidance(self) -> str | None:
        """The parameter that takes `cfg_scale`; `None` if it has none."""
        names = ("guidance_scale",) if self.distilled else ("true_cfg_scale", "guidance_scale")
        return next((name for name in names if self.takes(name)), None)

    @property
    def negative(self) -> bool:
        """Whether a negative prompt has an effect."""
        return self.takes("negative_prompt") and self.guidance is not None and not self.distilled

    @property
    def unfit(self) -> str | None:
        """The reason why it cannot make images from prompts; `None` if it can."""
        if not self.takes("prompt"):
            return "takes no prompt"
        does = (what for name in self.defaults for begin, what in _UNFIT.items() if name.startswith(begin))
        return next(does, None)


def operations_of(signature: Signature, text_pipelines: Collection[str]) -> tuple[Operation, ...]:
    """Return what a pipeline is for.

    Args:
        signature: its signature.
        text_pipelines: the names of the classes that also make images from text alone.
    """
    if not signature.takes("image"):
        return ("text_to_image",)
    if signature.takes("strength"):
        return ("image_to_image",)
    return ("text_to_image", "edit") if signature.name in text_pipelines else ("edit",)


# --- rows -----------------------------------------------------------------------------------------

_SEED = Integer(minimum=0, maximum=2**32 - 1, source=SOURCE, note="absent: random")
_PROMPT = Text(required=True, minimum=1, maximum=10_000, source=SOURCE)
_NEGATIVE = Text(minimum=0, maximum=10_000, default="", source=SOURCE, note="has no effect while cfg_scale is 1.0")
_FORMAT = Choice(options=("url", "b64_json"), default="url", source=SOURCE)
_ONE = Integer(minimum=1, maximum=1, default=1, source=SOURCE)
_WEIGHT = Number(
    required=True, minimum=0.0, above=True, maximum=1.0, source=SOURCE, note="smaller: closer to the source"
)
_IMAGE = ImageInput(
    required=True,
    formats=("png", "jpeg", "webp"),
    max_bytes=64 * 1024 * 1024,
    max_side=8192,
    links=True,
    source=SOURCE,
)

_SIZE_NOTES: Mapping[Operation, str] = MappingProxyType(
    {
        "image_to_image": "absent: as the image sent",
        "edit": "absent: the ratio of the image sent, at the area that the model was made for",
    }
)


def row_of_pipeline(model: str, operation: Operation, signature: Signature, size: Size) -> Capability:
    """Return the row of a local model for an operation.

    Args:
        model: the model's name.
        operation: the operation.
        signature: that of the pipeline for it.
        size: the size that the model was made for.
    """
    return Capability(
        model=model,
        operation=operation,
        rules=MappingProxyType(dict(_rules(operation, signature, size))),
        prices=_FREE,
        price_source=SOURCE,
        source=SOURCE,
    )


def _rules(operation: Operation, signature: Signature, size: Size) -> Iterator[tuple[str, Rule]]:
    if operation != "text_to_image":
        yield "image", _IMAGE
    yield "prompt", _PROMPT
    if operation == "image_to_image":
        yield "source_weight", _WEIGHT
    made_for = size.to_wire("width x height") if operation == "text_to_image" else None
    note = _SIZE_NOTES.get(operation, "")
    area = size.width * size.height
    yield "size", AnySize(minimum=64, maximum=4096, area=area, default=made_for, source=SOURCE, note=note)
    yield "n", _ONE
    yield "response_format", _FORMAT
    yield "seed", _SEED
    if signature.takes("num_inference_steps"):
        default = signature.default("num_inference_steps")
        yield "steps", Integer(minimum=1, maximum=500, default=default, source=SOURCE)
    if signature.guidance:
        default = signature.default(signature.guidance)
        default = None if default is None else float(default)
        yield "cfg_scale", Number(minimum=0.0, maximum=50.0, default=default, source=SOURCE)
    if signature.negative:
        yield "negative_prompt", _NEGATIVE


# --- arguments ------------------------------------------------------------------------------------


def arguments(signature: Signature, values: Values) -> dict[str, Any]:
    """Return the arguments for a pipeline, without size, image and seed.

    Args:
        signature: the pipeline's.
        values: the parameters of a request, valid by the row.

    Raises:
        NotMadeError: `source_weight` leaves less than one step.
    """
    said: dict[str, Any] = {"prompt": values["prompt"]}
    if signature.takes("num_images_per_prompt"):
        said["num_images_per_prompt"] = 1
    if values.get("steps") is not None:
        said["num_inference_steps"] = values["steps"]
    guidance, scale = signature.guidance, values.get("cfg_scale")
    if guidance and isinstance(scale, int | float):
        said[guidance] = scale
    if signature.negative:
        negative = values.get("negative_prompt") or ""
        # "True" guidance needs a negative prompt, and is ignored without one.
        said["negative_prompt"] = negative or (" " if guidance == "true_cfg_scale" else None)
    if "source_weight" in values:
        said["strength"] = _strength(values)
    return said


def _strength(values: Values) -> float:
    """Return `source_weight`, which has to leave at least one step."""
    weight, steps = values["source_weight"], values.get("steps")
    strength = float(weight) if isinstance(weight, int | float) else 1.0
    if isinstance(steps, int) and int(steps * strength) < 1:
        message = (
            f"source_weight: got {strength:g}, which of {steps} steps is less than one; "
            f"allowed: at least {math.ceil(1000 / steps) / 1000:g}, or more steps"
        )
        raise NotMadeError(message, status=400, kind="request_params_invalid")
    return strength


def sides(signature: Signature, size: Size) -> dict[str, int]:
    """Return the arguments that make a pipeline keep to a size, as far as it has any.

    Flux Kontext scales `width` and `height` to the area of `max_area`, 1024x1024 by default.
    """
    named = {"width": size.width, "height": size.height, "max_area": size.width * size.height}
    return {name: value for name, value in named.items() if signature.takes(name)}


def size_of_result(operation: Operation, rule: AnySize, source: Size) -> Size:
    """Return the size of an image made from another one, for a request without a size."""
    if operation == "image_to_image":
        return source
    ratio = source.width / source.height
    exact = (math.sqrt(rule.area * ratio), math.sqrt(rule.area / ratio))
    width, height = (min(max(round(side / MULTIPLE) * MULTIPLE, rule.minimum), rule.maximum) for side in exact)
    return Size(width=width, height=height)


def size_to_make(size: Size) -> Size:
    """Return the smallest size that a pipeline can make and `size` can be cut out of."""
    width, height = (-(-side // MULTIPLE) * MULTIPLE for side in (size.width, size.height))
    return Size(width=width, height=height)
