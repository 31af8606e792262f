"""The OpenAPI description of the served engine, made from the rows of the models that it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stepfun_async._core.capabilities import ENDPOINTS, Capability, Operation
from stepfun_async._core.schemas.rows import DIALECT, PURPOSES, request_schema
from stepfun_async._core.schemas.rules import Form, Schema
from stepfun_async._core.version import __version__
from stepfun_async._core.wire import wire_name

from .engine import Engine
from .validation import MEANINGLESS

_WIRE = Form(images="wire", sizes="wire", wire=True)
_JSON, _MULTIPART = "application/json", "multipart/form-data"

_OPERATION_IDS: Mapping[Operation, str] = {
    "text_to_image": "generate_image",
    "edit": "edit_image",
    "image_to_image": "image_to_image",
}


def describe(engine: Engine, prefixes: Mapping[str, bool]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of an engine as it is now, models registered a moment ago included.

    Args:
        engine: the engine.
        prefixes: the paths at which the API is served, and whether each is the Step Plan's.
    """
    rows = tuple(engine.backend.rows())
    paths: dict[str, Any] = {}
    for prefix, plan in prefixes.items():
        served = [row for row in rows if row.step_plan or not plan]
        paths |= {f"{prefix}{path}": item for path, item in _paths(engine, served, prefix).items()}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "StepFun's image API, served by stepfun-async",
            "version": __version__,
            "description": f"{engine.backend.purpose[:1].upper()}{engine.backend.purpose[1:]}. "
            "Models, parameters, sizes and limits come from the tables that the SDK validates with.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "The API key."}},
            "schemas": {**_RESPONSES, **{_name(row): _request(row, strict=engine.strict) for row in rows}},
            "responses": _errors(),
        },
    }


# --- paths ------------------------------------------------------------------------------------------


def _paths(engine: Engine, rows: Sequence[Capability], prefix: str) -> dict[str, Any]:
    mark = "step_plan_" if prefix.startswith("/step_plan") else ""
    images = {
        endpoint.path: {"post": _image_call(engine, operation, rows, mark)}
        for operation, endpoint in ENDPOINTS.items()
        if any(row.operation == operation for row in rows)
    }
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Its name."}
    file = {**model, "name": "name", "description": "The last part of an image's link."}
    return {
        **images,
        "/models": {"get": _facts(f"{mark}list_models", "List the models.", "ModelList")},
        "/models/{model}": {
            "get": {**_facts(f"{mark}retrieve_model", "Return one model.", "Model", 404), "parameters": [model]}
        },
        "/accounts": {"get": _facts(f"{mark}retrieve_account", "Return the balance of the key.", "Account")},
        "/files/{name}": {"get": {**_file(f"{mark}download_image"), "parameters": [file]}},
    }


def _image_call(engine: Engine, operation: Operation, rows: Sequence[Capability], mark: str) -> Schema:
    named = [row for row in rows if row.operation == operation]
    references = {row.model: {"$ref": f"#/components/schemas/{_name(row)}"} for row in named}
    mapping = {model: reference["$ref"] for model, reference in references.items()}
    body = {"anyOf": [*references.values()], "discriminator": {"propertyName": "model", "mapping": mapping}}
    content: Schema = {_JSON: {"schema": body}}
    if ENDPOINTS[operation].body == "form":
        forms = [_form(row, strict=engine.strict) for row in named]
        content = {_MULTIPART: {"schema": {"anyOf": forms}}, **content}
    return {
        "operationId": f"{mark}{_OPERATION_IDS[operation]}",
        "summary": PURPOSES[operation],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _response("The image; the link to it by default.", "ImagesResponse"),
            **_refused(400, 401, 402, 413, 429, 500, 502, 503, 504),
        },
    }


def _facts(name: str, summary: str, schema: str, *statuses: int) -> Schema:
    responses = {"200": _response(summary, schema), **_refused(401, *statuses)}
    return {"operationId": name, "summary": summary, "responses": responses}


def _file(name: str) -> Schema:
    summary = "Return the image behind a link that an earlier response had. It needs no key, and expires."
    found: Schema = {"description": summary, "content": {"image/png": {}}}
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": found, **_refused(404)}}


# --- requests ---------------------------------------------------------------------------------------


def _request(row: Capability, *, strict: bool) -> Schema:
    """Return the JSON of a request to a model: what the model has, and what is ignored unless the engine is strict."""
    schema = request_schema(row, _WIRE)
    model = {key: value for key, value in schema["properties"]["model"].items() if key != "default"}
    properties = {**schema["properties"], "model": model}
    ignored = {} if strict else {name: each for name, each in _ignored().items() if name not in properties}
    return {**schema, "properties": {**properties, **ignored}, "required": ["model", *schema["required"]]}


def _ignored() -> dict[str, Schema]:
    """Return the parameters that clients of OpenAI's API always send, and that are left out."""
    why = "Ignored: StepFun has no such parameter, but other clients always send it."
    return {
        name: {"description": why, "deprecated": True, **({} if values is None else {"enum": [*values, None]})}
        for name, values in MEANINGLESS.items()
    }


def _form(row: Capability, *, strict: bool) -> Schema:
    """Return the fields of a multipart form: the same, with the image as a file, and absent instead of `null`."""
    schema = _request(row, strict=strict)
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    image = wire_name(row.operation, "image")
    description = schema["properties"][image]["description"]
    fields[image] = {"description": description, "type": "string", "format": "binary"}
    return {**schema, "properties": fields}


def _without_null(schema: Schema) -> Schema:
    changed = dict(schema)
    if isinstance(schema.get("type"), list):
        [changed["type"]] = [name for name in schema["type"] if name != "null"]
    if "enum" in schema:
        changed["enum"] = [value for value in schema["enum"] if value is not None]
    if "anyOf" in schema:
        changed["anyOf"] = [way for way in schema["anyOf"] if way.get("type") != "null"]
    return changed


def _name(row: Capability) -> str:
    """Return the name of a row's schema, of the characters that a component may have."""
    model = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in row.model)
    return f"{model}.{row.operation}"


# --- responses --------------------------------------------------------------------------------------


def _response(description: str, schema: str) -> Schema:
    return {"description": description, "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _refused(*statuses: int) -> dict[str, Schema]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


_MEANINGS: Mapping[int, str] = {
    400: "The request is invalid; the message names every problem. Nothing was made.",
    401: "There is no key, or it is not one of this server's.",
    402: "The balance of the key is used up.",
    404: "There is no such thing, or it has expired.",
    413: "The body is too large.",
    429: "Too many calls at once. `Retry-After` says when a retry may succeed.",
    500: "The server failed, or a fault of its scenario says so.",
    502: "Only as a fault of the scenario.",
    503: "The model cannot be run now, or a fault of the scenario says so.",
    504: "Only as a fault of the scenario.",
}


def _errors() -> dict[str, Schema]:
    return {str(status): _response(meaning, "Error") for status, meaning in _MEANINGS.items()}


def _object(properties: Mapping[str, Schema], *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}


_TEXT: Schema = {"type": "string"}
_AMOUNT: Schema = {"type": "number", "description": "In the currency of the tables' international prices."}
_IMAGE = _object(
    {
        "seed": {"type": "integer", "description": "The seed that the image was made from."},
        "finish_reason": {"enum": ["success", "content_filtered"], "description": "Filtered images have no content."},
        "b64_json": {**_TEXT, "contentEncoding": "base64", "description": "The image, if `b64_json` was asked for."},
        "url": {**_TEXT, "format": "uri", "description": "The link to the image, if `url` was asked for."},
    },
    "b64_json",
    "url",
)
_MODEL = _object({"id": _TEXT, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": _TEXT})
_RESPONSES: Mapping[str, Schema] = {
    "ImagesResponse": _object(
        {
            "created": {"type": "integer", "description": "Seconds since 1970; image_to_image has none."},
            "id": {**_TEXT, "description": "The call's id; image_to_image has none."},
            "data": {"type": "array", "items": _IMAGE, "minItems": 1, "maxItems": 1},
        },
        "created",
        "id",
    ),
    "ModelList": _object({"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}}),
    "Model": _MODEL,
    "Account": _object(
        {
            "object": {"const": "account"},
            "type": {"enum": ["prepaid", "postpaid"]},
            **dict.fromkeys(("balance", "total_cash_balance", "total_voucher_balance"), _AMOUNT),
        }
    ),
    "Error": _object({"error": _object({"message": _TEXT, "type": _TEXT})}),
}
