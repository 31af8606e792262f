"""The JSON Schema of a line of a batch, for completion in editors and validation in other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from stepfun_async._core.capabilities import Capability, Operation
from stepfun_async._core.profiles import Server
from stepfun_async._core.registry import row_of, rows
from stepfun_async._core.requests import REQUESTS
from stepfun_async._core.schemas.rows import DIALECT, request_schema
from stepfun_async._core.schemas.rules import Schema, nullable
from stepfun_async._core.servers import find_server
from stepfun_async._core.size_rules import Sizes

from .jobs import LONGEST_ID, OPERATIONS

_NO_DEFAULTS: Mapping[str, object] = MappingProxyType({})

_NO_LINKS = "A batch stores the images themselves, since links expire."

_ID: Schema = {
    "description": f"The line's own name, 1 to {LONGEST_ID} characters that can be printed, or a whole number.",
    "type": ["string", "integer", "null"],
    "minLength": 1,
    "maxLength": LONGEST_ID,
}


def batch_schema(
    defaults: Mapping[str, object] = _NO_DEFAULTS, *, server: str | Server | None = None
) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one JSONL line of a batch, over all models and operations.

    The model and the operation select the part of the schema that applies, so errors name the rule that is broken.
    `docs/schemas.md` lists what a batch accepts beyond the schema, such as other spellings of names.

    Args:
        defaults: the defaults of the batch, as for `Batch`; their fields need not be in the line.
        server: the profile of the server that the batch is for, one of `servers()`; `None` for StepFun's own form.

    Raises:
        ConfigurationError: there is no such server.

    >>> from jsonschema import Draft202012Validator
    >>> line = {"prompt": "a lake", "model": "step-2x-large", "steps": 99}
    >>> [error.message for error in Draft202012Validator(batch_schema()).iter_errors(line)]
    ['99 is greater than the maximum of 50']
    """
    profile = None if server is None else find_server(server)
    found = (row_of(row.model, row.operation, profile) for row in rows())
    given = {name: value for name, value in defaults.items() if value is not None}
    return _LineSchema(given, tuple(row for row in found if row is not None)).schema()


class _LineSchema:
    """The lines of a batch with some defaults.

    Args:
        defaults: the fields that have a value where a line does not give one.
        rows: the rows of the models.
    """

    def __init__(self, defaults: Mapping[str, object], rows: tuple[Capability, ...]) -> None:
        self._defaults = defaults
        self._rows = rows

    def schema(self) -> Schema:
        return {
            "$schema": DIALECT,
            "title": "A line of a batch of stepfun-async",
            "type": "object",
            "properties": self._overview(),
            "allOf": [*map(self._models, REQUESTS), *map(self._branch, self._rows)],
            "$defs": {_name(row): self._line(row) for row in self._rows},
        }

    def _overview(self) -> Schema:
        """Return the fields of all models, for editors to complete before the model is given."""
        names = {name: rule.note for row in self._rows for name, rule in row.rules.items()}
        models = sorted({row.model for row in self._rows})
        return {
            "id": _ID,
            "operation": {
                "description": "Without it a line with an image is an edit, with source_weight too an image_to_image.",
                "enum": [*OPERATIONS, None],
            },
            "model": {"description": "The model's name.", "enum": [*models, None]},
            **dict.fromkeys(names, True),
        }

    # --- which part holds

    def _branch(self, row: Capability) -> Schema:
        return {
            "if": {"allOf": [self._is_for(row.operation), self._is_by(row)]},
            "then": {"$ref": f"#/$defs/{_name(row)}"},
        }

    def _models(self, operation: Operation) -> Schema:
        """Return the rule that a line for `operation` is for a model that has it."""
        models = [row.model for row in self._rows if row.operation == operation]
        omitted = [None] if self._default_model(operation) in models else []
        required = [] if omitted else ["model"]
        return {
            "if": self._is_for(operation),
            "then": {"properties": {"model": {"enum": [*models, *omitted]}}, "required": required},
        }

    def _is_for(self, operation: Operation) -> Schema:
        """Return the condition that a line asks for `operation`, by name or by its fields."""
        named = [name for name, meant in OPERATIONS.items() if meant == operation]
        given: Schema = {"properties": {"operation": {"enum": named}}, "required": ["operation"]}
        default = self._defaults.get("operation")
        if default is not None:
            return {"anyOf": [given, _is_absent("operation")]} if default in named else given
        return {"anyOf": [given, {"allOf": [_is_absent("operation"), *self._implied(operation)]}]}

    def _implied(self, operation: Operation) -> Iterator[Schema]:
        if operation == "text_to_image":
            yield self._lacks("image")
        else:
            yield self._has("image")
            yield self._has("source_weight") if operation == "image_to_image" else self._lacks("source_weight")

    def _has(self, name: str) -> Schema:
        """Return the condition that a line, with the defaults, has a field."""
        return _ANYTHING if name in self._defaults else {"not": _is_absent(name)}

    def _lacks(self, name: str) -> Schema:
        return _NEVER if name in self._defaults else _is_absent(name)

    def _is_by(self, row: Capability) -> Schema:
        if self._default_model(row.operation) == row.model:
            return {"properties": {"model": {"enum": [row.model, None]}}}
        return {"properties": {"model": {"const": row.model}}, "required": ["model"]}

    def _default_model(self, operation: Operation) -> object:
        return self._defaults.get("model", REQUESTS[operation].model_fields["model"].default)

    # --- the schema of one row

    def _line(self, row: Capability) -> Schema:
        schema = request_schema(row)
        fields = schema["properties"]
        for name in self._defaults.keys() & set(schema["required"]):
            fields[name] = nullable(fields[name])
        fields |= {"id": _ID, "operation": True, "model": True, **_SIDES, **_for_batches(row, fields)}
        if unknown := sorted(self._defaults.keys() - fields.keys()):
            why = f"{row.model} has no {', '.join(unknown)} for {row.operation}, which the batch has a default for."
            return {"description": why, "not": {}}
        return {
            **schema,
            "required": [name for name in schema["required"] if name not in self._defaults],
            "allOf": [self._sides(row)],
        }

    def _sides(self, row: Capability) -> Schema:
        """Return the rule that width and height are given together, as a pair that the model has, without a size."""
        sides = [self._has("width"), self._has("height")]
        rule = row.rules.get("size")
        options = rule.options if isinstance(rule, Sizes) else ()
        pairs = [{"properties": {"width": {"const": s.width}, "height": {"const": s.height}}} for s in options]
        made = [{"anyOf": pairs}] if pairs else []
        return {"if": {"anyOf": sides}, "then": {"allOf": [*sides, self._lacks("size"), *made]}}


_ANYTHING: Schema = {}
_NEVER: Schema = {"not": {}}

_SIDES: Schema = {
    side: {"description": f"The image's {side} in pixels, in place of size.", "type": ["integer", "null"]}
    for side in ("width", "height")
}


def _is_absent(name: str) -> Schema:
    """Return the condition that a line does not have a field; `null` means that, too."""
    return {"properties": {name: {"type": "null"}}}


def _name(row: Capability) -> str:
    """Return the name of a row's part of the schema, which is valid in a reference."""
    return f"{''.join(letter if letter.isalnum() else '-' for letter in row.model)}.{row.operation}"


def _for_batches(row: Capability, fields: Schema) -> Schema:
    """Return the fields for which a batch accepts fewer values than a single request."""
    one = {"n": {**fields["n"], "maximum": 1}} if "n" in fields else {}
    same = {"model": {"const": row.model}, "n": {"const": 1}}
    return {
        **one,
        "response_format": {"description": _NO_LINKS, "enum": ["b64_json", None]},
        "extra_body": {**fields["extra_body"], "properties": same},
    }
