"""The tools: what each is for, which arguments it takes, and the request made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from stepfun_async import Capability, InvalidRequestError, Problem, capabilities
from stepfun_async._core.capabilities import Operation
from stepfun_async._core.problems import plain
from stepfun_async._core.profiles import Server
from stepfun_async._core.registry import row_of
from stepfun_async._core.requests import REQUESTS, ImageRequest
from stepfun_async._core.rules import closest
from stepfun_async._core.schemas.rows import request_schema
from stepfun_async._core.schemas.rules import MEANINGS, Form, Schema
from stepfun_async._core.size_rules import Sizes

CHECK = "check_image_request"
MODELS = "list_image_models"

TOOLS: Mapping[str, Operation] = MappingProxyType(
    {"generate_image": "text_to_image", "edit_image": "edit", "image_to_image": "image_to_image"}
)
"""The tools that make an image, and the operation of each."""

_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "generate_image": "Generate an image from a text prompt and save it as a file. Each call is paid for.",
        "edit_image": "Edit an image as a prompt says and save the result as a new file. Each call is paid for.",
        "image_to_image": "Generate a new image from an existing one and save it as a file. Each call is paid for.",
        CHECK: "Check the arguments of another image tool: list every problem, or say what the image would cost. "
        "Nothing is sent, and nothing is paid.",
        MODELS: "List the image models with their prices, sizes and limits. Nothing is sent, and nothing is paid.",
    }
)

_NOT_OFFERED = frozenset({"n", "response_format", "extra_body"})
"""Parameters that tools do not have: a call makes one image, and it is saved."""

_FORM = Form(sizes="named")


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """The description of a tool.

    Attributes:
        name: its name.
        description: what it does.
        schema: the JSON Schema of its arguments.
        reads_only: whether it changes nothing and costs nothing.
    """

    name: str
    description: str
    schema: Schema
    reads_only: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """The models that tools offer, as their server takes them.

    Attributes:
        server: the profile of the server.
        models: the names of the models; none for all that the tables have.
    """

    server: Server
    models: tuple[str, ...] = ()

    def rows(self) -> tuple[Capability, ...]:
        """Return the current rows of the models, including models registered later."""
        named = (row for row in capabilities() if not self.models or row.model in self.models)
        adapted = (row_of(row.model, row.operation, self.server) for row in named)
        return tuple(row for row in adapted if row is not None)

    def rows_for(self, operation: Operation) -> tuple[Capability, ...]:
        """Return the rows of one operation."""
        return tuple(row for row in self.rows() if row.operation == operation)

    def default_model(self, operation: Operation) -> str:
        """Return the model for calls without one: the SDK's default, or else the first."""
        default: str = REQUESTS[operation].model_fields["model"].default
        names = [row.model for row in self.rows_for(operation)]
        return default if default in names or not names else names[0]


def describe_tools(offer: Offer) -> Sequence[ToolFacts]:
    """Return all tools, from the current rows of the tables; tools without a model are left out."""
    makers = [
        ToolFacts(name, _DESCRIPTIONS[name], _schema_of(operation, offer), reads_only=False)
        for name, operation in TOOLS.items()
        if offer.rows_for(operation)
    ]
    return (
        *makers,
        ToolFacts(CHECK, _DESCRIPTIONS[CHECK], _CHECK_SCHEMA, reads_only=True),
        ToolFacts(MODELS, _DESCRIPTIONS[MODELS], _MODELS_SCHEMA, reads_only=True),
    )


_CHECK_SCHEMA: Schema = {
    "type": "object",
    "properties": {
        "tool": {"description": "The tool whose arguments to check.", "type": "string", "enum": [*TOOLS]},
        "arguments": {"description": "The arguments, as that tool takes them.", "type": "object"},
    },
    "required": ["tool", "arguments"],
    "additionalProperties": False,
}
_MODELS_SCHEMA: Schema = {"type": "object", "properties": {}, "additionalProperties": False}


def _schema_of(operation: Operation, offer: Offer) -> Schema:
    """Return the arguments of all models for one operation as one object, since agents' APIs accept no alternatives."""
    rows = offer.rows_for(operation)
    schemas = {row.model: request_schema(row, _FORM) for row in rows}
    names = dict.fromkeys(name for row in rows for name in row.rules if name not in _NOT_OFFERED)
    required = [name for name in names if all(name in schema["required"] for schema in schemas.values())]
    default = offer.default_model(operation)
    model = {"description": "The model to use.", "type": "string", "enum": [*schemas], "default": default}
    return {
        "type": "object",
        "properties": {**{name: _merged(name, schemas) for name in names}, "model": model},
        "required": required,
        "additionalProperties": False,
    }


def _merged(name: str, schemas: Mapping[str, Schema]) -> Schema:
    """Return the schema of a parameter for all models; if they differ, that of each."""
    each: dict[str, Schema] = {
        model: schema["properties"][name] for model, schema in schemas.items() if name in schema["properties"]
    }
    bare = {model: {key: value for key, value in one.items() if key != "description"} for model, one in each.items()}
    alike: list[list[str]] = []
    for model in bare:
        group = next((group for group in alike if bare[group[0]] == bare[model]), None)
        alike.append([model]) if group is None else group.append(model)
    if len(alike) == 1 and len(each) == len(schemas):
        return each[alike[0][0]]
    only = "" if len(each) == len(schemas) else f" Only for {', '.join(each)}."
    if len(alike) == 1:
        return {**each[alike[0][0]], "description": f"{each[alike[0][0]]['description']}{only}"}
    alternatives = [{"title": ", ".join(group), **each[group[0]]} for group in alike]
    return {"description": f"{MEANINGS.get(name, name)}{only}", "anyOf": alternatives}


# --- arguments ------------------------------------------------------------------------------------


def request_of(tool: str, arguments: Mapping[str, object], offer: Offer) -> ImageRequest:
    """Return the request from the arguments of a tool, valid or not.

    Raises:
        InvalidRequestError: there are arguments that tools do not have, or the model is not offered.
    """
    operation = TOOLS[tool]
    rows = offer.rows_for(operation)
    names = tuple(name for row in rows for name in row.rules if name not in _NOT_OFFERED)
    invalid = (name for name in arguments if name in _NOT_OFFERED or not _is_name(name))
    problems = [_no_argument(name, arguments[name], names) for name in invalid]
    model = arguments.get("model", offer.default_model(operation))
    models = tuple(row.model for row in rows)
    if model not in models:
        problems.append(Problem("model", plain(model), ", ".join(models), "not offered", closest(model, models)))
    if problems:
        raise InvalidRequestError.of(tool, tuple(problems))
    return REQUESTS[operation](**cast("Any", {**arguments, "model": model}))


def _is_name(name: str) -> bool:
    return name.isprintable() and not name.startswith("_")


def _no_argument(name: str, value: object, names: Iterable[str]) -> Problem:
    known = tuple(dict.fromkeys(names))
    return Problem(name, plain(value), f"the arguments {', '.join(known)}", "no such argument", closest(name, known))


def model_facts(row: Capability) -> dict[str, object]:
    """Return the facts by which an agent chooses a model."""
    sizes = row.rules.get("size")
    limits = {name: rule.wire_allowed for name, rule in row.rules.items() if name not in (*_NOT_OFFERED, "size")}
    end = row.lifecycle and (str(row.lifecycle.ends) if row.lifecycle.ends else "ended")
    return {
        "model": row.model,
        "tool": next(name for name, operation in TOOLS.items() if operation == row.operation),
        "prices": {region: str(price) for region, price in row.prices.items()},
        "sizes": [size.label for size in sizes.options] if isinstance(sizes, Sizes) else "that of the image sent",
        "ratios": list(sizes.ratios) if isinstance(sizes, Sizes) else [],
        "limits": limits,
        "served_by_stepfun_until": end,
    }
