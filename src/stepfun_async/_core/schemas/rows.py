"""JSON Schemas (draft 2020-12) of the rows of the model tables."""

from __future__ import annotations

from ..capabilities import ENDPOINTS, Capability, Operation
from ..wire import wire_name
from .rules import AS_FIELDS, Form, Schema, nullable, schema_of_rule

DIALECT = "https://json-schema.org/draft/2020-12/schema"

USUAL_FORMAT = "b64_json"
"""The `response_format` of requests that do not give one."""

PURPOSES: dict[Operation, str] = {
    "text_to_image": "Generate an image from a text prompt.",
    "edit": "Edit an image as the prompt says.",
    "image_to_image": "Generate a new image from an existing one.",
}
"""The descriptions of the operations."""


def request_schema(row: Capability, form: Form = AS_FIELDS) -> Schema:
    """Return the schema of a request to the row's model: exactly what the row accepts.

    It describes the fields of `TextToImage`, `ImageEdit` and `ImageToImage` as JSON, or the JSON of the HTTP API where
    `form` says so.
    """
    names = {name: wire_name(row.operation, name) if form.wire else name for name in row.rules}
    properties: Schema = {"model": model_schema(row)}
    properties |= {names[name]: schema_of_rule(name, rule, form) for name, rule in row.rules.items()}
    if not form.wire:
        properties["response_format"] = _format_schema(row, form)
        properties["extra_body"] = EXTRA_BODY
    return {
        "title": f"{row.model} {row.operation}",
        "description": f"{PURPOSES[row.operation]} {_price(row)}",
        "type": "object",
        "properties": properties,
        "required": [names[name] for name, rule in row.rules.items() if rule.required],
        "additionalProperties": False,
    }


def model_schema(row: Capability) -> Schema:
    """Return the schema of the field `model` for one row."""
    return {"description": "The model's name.", "type": "string", "const": row.model, "default": row.model}


EXTRA_BODY: Schema = {
    "description": "Additional parameters, sent to the server unchecked.",
    "type": ["object", "null"],
    "default": None,
}


def _format_schema(row: Capability, form: Form) -> Schema:
    """Return the schema of `response_format`; its default is that of a request, not that of the server."""
    rule = row.rules.get("response_format")
    if rule is None:  # the field's default is accepted, and not sent
        return nullable({"description": "The image itself.", "type": "string", "enum": [USUAL_FORMAT]})
    return {**schema_of_rule("response_format", rule, form), "default": USUAL_FORMAT}


def _price(row: Capability) -> str:
    prices = ", ".join(f"{price} ({region})" for region, price in row.prices.items())
    sent = f"POST {ENDPOINTS[row.operation].path}"
    return f"Sent as {sent}. Price of an image: {prices or 'not known'}."
