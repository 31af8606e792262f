"""Check a request against its row: return every problem, and notices on what has no effect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from .capabilities import Capability, Operation
from .input_images import InputImage
from .keywords import CALL_KEYWORDS
from .problems import Problem, plain
from .profiles import Server
from .registry import row_of, rows
from .rules import OMITTED, Ignored, Integer, Rule, Violation, closest
from .size_rules import Sizes
from .sizes import Size
from .text import reason

Values = Mapping[str, object]
"""A request's parameters by name, without those not given; images are what `load_image` made of them."""


def convert(row: Capability, values: Values, given: Values) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """Check each parameter and convert it, in one pass.

    Args:
        row: the model's.
        values: the parameters, with images opened.
        given: the parameters as the user gave them, for messages.

    Returns:
        The parameters by their names and with their values on the wire, and all problems, in the order of the model's
        parameters.
    """
    rules, names = row.rules, row.wire_names
    wire: dict[str, Any] = {}
    wrong: dict[str, tuple[Problem, ...]] = {}
    for name in values:
        value = values[name]
        try:
            converted = rules[name].convert(value)
        except Exception as error:  # noqa: BLE001 - a user's methods may raise anything
            converted = Violation(f"it cannot be judged: {reason(error)}")
        if type(converted) is Violation:
            wrong[name] = _problems_with(row, name, value, given[name], converted)
        elif converted is not OMITTED:
            wire[names[name] if name in names else name] = converted
    for name in row.required:
        if name not in values:
            wrong[name] = (Problem(name, None, rules[name].allowed, "is required"),)
    if not wrong:
        return wire, ()
    return wire, tuple(problem for name in {**rules, **wrong} for problem in wrong.get(name, ()))


def _problems_with(
    row: Capability, name: str, value: object, shown: object, violation: Violation
) -> tuple[Problem, ...]:
    """Return the problems of one parameter whose conversion failed with `violation`."""
    rule = row.rules.get(name)
    if rule is None:
        return (_no_such_parameter(row, name, shown),)
    try:
        faults = rule.faults(value) or (violation,)
    except Exception:  # noqa: BLE001 - a user's methods may raise anything
        faults = (violation,)
    return tuple(_problem(name, rule, shown, fault) for fault in faults)


def notices_of(row: Capability, values: Values) -> tuple[str, ...]:
    """Return notices on valid values that do not do what they seem to say."""
    notices: list[str] = []
    for name in row.notable:
        rule = row.rules[name]
        if isinstance(rule, Ignored) and name in values:
            notices.append(f"{name} {rule.effect}; it is not sent")
        elif isinstance(rule, Integer) and values.get(name) == 0:
            why = f"{name} 0 means a random one for {row.model}"
            notices.append(f"{why}: give 1 or more to get the same image again")
    return (*notices, *_idle_negative_prompt(row, values))


def sides_of(row: Capability, values: Values) -> tuple[str, ...]:
    """A wire string that begins with the height, which most people read as the width."""
    if "size" not in values or "size" not in row.rules:
        return ()
    text, rule = values["size"], row.rules["size"]
    if type(text) is not str or not isinstance(rule, Sizes) or text not in rule.turning:
        return ()
    size = rule.turning[text]
    other = Size(width=size.height, height=size.width)
    other_way = f"; {_named(rule, other)} is {other.shape}" if other in rule.options else ""
    notice = (
        f"size {text!r} makes an image {size.width} wide and {size.height} high ({size.shape}), since {row.model} "
        f"writes {rule.order}: {_named(rule, size)} says the same without doubt{other_way}"
    )
    return (notice,)


def _named(rule: Sizes, size: Size) -> str:
    """The forms of a size that name its sides."""
    ratio = size.ratio
    form = f"Size(width={size.width}, height={size.height})"
    return f"{form} or {ratio!r}" if ratio and rule.pick(ratio) == size else form


def turns_of(values: Values) -> tuple[str, ...]:
    """Return notices on images that are sent as stored, but rotated by viewers because of their EXIF."""
    images = {"image": values.get("image")}
    style = values.get("style_reference")
    if isinstance(style, Mapping):
        images["style_reference.source_url"] = cast("Mapping[str, object]", style).get("source_url")
    return tuple(
        f"{name}: by its metadata it is to be {_TURNS[image.orientation]} (orientation {image.orientation}); it is "
        "sent as it is stored, and a server that does not heed that takes it so: give a PIL image, such as "
        "Image.open(path), to have it sent upright"
        for name, image in images.items()
        if isinstance(image, InputImage) and image.orientation in _TURNS
    )


_TURNS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored and turned by 180 degrees",
    5: "mirrored and turned by 90 degrees to the left",
    6: "turned by 90 degrees to the right",
    7: "mirrored and turned by 90 degrees to the right",
    8: "turned by 90 degrees to the left",
}
"""How a viewer has to rotate an image, by EXIF orientation."""


def body_problems(extra_body: object) -> tuple[Problem, ...]:
    """Return the problems of extra parameters, which are sent as they are."""
    if extra_body is None:
        return ()
    allowed = "a mapping of names to JSON values"
    why = _why_not_json(extra_body)
    return () if why is None else (Problem("extra_body", plain(extra_body), allowed, why),)


def _why_not_json(extra_body: object) -> str | None:
    try:
        if not isinstance(extra_body, Mapping):
            return ""
        content = dict(cast("Mapping[object, object]", extra_body))
        if not all(isinstance(name, str) for name in content):
            return "a name is no text"
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except Exception as error:  # noqa: BLE001 - a user's methods may raise anything
        return reason(error)
    return None


def _problem(name: str, rule: Rule, shown: object, fault: Violation) -> Problem:
    field = f"{name}.{fault.part}" if fault.part else name
    if fault.part and isinstance(shown, Mapping):
        shown = cast("Mapping[str, object]", shown).get(fault.part)
    return Problem(field, plain(shown), fault.allowed or rule.allowed, fault.why, fault.nearest)


def _idle_negative_prompt(row: Capability, values: Values) -> tuple[str, ...]:
    scale = row.rules.get("cfg_scale") if values.get("negative_prompt") else None
    if scale is None:
        return ()
    if values.get("cfg_scale", scale.default) != 1.0:
        return ()
    return ("negative_prompt has no effect while cfg_scale is 1.0: raise cfg_scale above 1.0",)


def unknown_model(model: object, operation: Operation, server: Server | None = None) -> Problem:
    """Return the problem of a model that the tables, or a server's profile, do not have for an operation."""
    if server is not None and row_of(model, operation) is not None:
        return _no_such_operation(operation, server)
    able = tuple(row.model for row in rows() if row.operation == operation)
    others = sorted({row.operation for row in rows() if row.model == model}) if type(model) is str else []
    if model is None:
        why = "is required"
    elif others:
        why = f"{model} has {' and '.join(others)}, not {operation}"
    else:
        why = "not in the tables; register_model() adds one, validation='off' sends as given"
    return Problem("model", plain(model), ", ".join(able), why, closest(model, able))


_INSTEAD: Mapping[Operation, str] = {"image_to_image": "; edit() takes an image and a prompt, too"}
"""Alternatives to an operation that a server does not have."""


def _no_such_operation(operation: Operation, server: Server) -> Problem:
    instead = _INSTEAD.get(operation, "") if "edit" in server.routes else ""
    why = f"servers of the profile {server.name!r} do not have it{instead}"
    return Problem("operation", operation, ", ".join(server.operations), why)


def _no_such_parameter(row: Capability, name: str, value: object) -> Problem:
    names = tuple(row.rules)
    why = f"{row.model} has no {name} for {row.operation}{f' on {row.server}' if row.server else ''}"
    if name in CALL_KEYWORDS:
        why = f"{why}: {CALL_KEYWORDS[name]}"
    return Problem(name, plain(value), f"the parameters {', '.join(names)}", why, closest(name, names))
