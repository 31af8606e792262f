"""The reference page of the served engine: its OpenAPI description as HTML, without scripts or other files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, cast

from stepfun_async._core.schemas.rules import Schema

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0b63ce; }
@media (prefers-color-scheme: dark) { :root { --accent: #7ab7ff; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { border-top: 1px solid var(--line); font-size: 1.25rem; margin-top: 2.5rem; padding-top: 1.25rem; }
a { color: var(--accent); }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--soft); border-radius: .4rem; overflow-x: auto; padding: .8rem 1rem; }
nav ul { columns: 18rem; list-style: none; padding: 0; }
.method { border: 1px solid; border-radius: .3rem; font-size: .8em; margin-right: .4rem; padding: .1rem .4rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .8rem .45rem 0; text-align: left; vertical-align: top; }
td:first-child { white-space: nowrap; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; padding: .5rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
small { opacity: .75; }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td { border: 0; padding: 0; }
}
"""


def page(description: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI description."""
    calls = [
        (path, method, call)
        for path, item in description["paths"].items()
        if path.startswith("/v1")
        for method, call in item.items()
    ]
    sections = [_section(description, *call) for call in calls]
    info = description["info"]
    return _document(
        info["title"],
        f"<header><h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>{_INTRODUCTION}</header>"
        f"<nav aria-label='Calls'><ul>{''.join(_entry(*call) for call in calls)}</ul></nav>"
        f"<main>{''.join(sections)}</main>",
    )


_INTRODUCTION = (
    "<p>Send the key as <code>Authorization: Bearer KEY</code>. The same calls are served below "
    "<code>/step_plan/v1</code>, for the models of the Step Plan. "
    "For programs: <a href='/openapi.json'>/openapi.json</a> (OpenAPI 3.1).</p>"
)


def _document(title: str, body: str) -> str:
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"


def _entry(path: str, method: str, call: Schema) -> str:
    return f"<li><a href='#{escape(call['operationId'])}'>{_call_name(path, method)}</a></li>"


def _call_name(path: str, method: str) -> str:
    return f"<span class='method'>{method.upper()}</span><code>{escape(path)}</code>"


def _section(description: Mapping[str, Any], path: str, method: str, call: Schema) -> str:
    parts = [
        f"<section><h2 id='{escape(call['operationId'])}'>{_call_name(path, method)}</h2>",
        f"<p>{escape(call['summary'])}</p>",
        *_request(description, path, call),
        "<h3>Responses</h3>",
        _responses(description, call),
        "</section>",
    ]
    return "".join(parts)


# --- requests -------------------------------------------------------------------------------------


def _request(description: Mapping[str, Any], path: str, call: Schema) -> Iterator[str]:
    body = call.get("requestBody", {}).get("content", {})
    if not body:
        return
    kind, content = next(iter(body.items()))
    models = [_resolved(description, way) for way in content["schema"]["anyOf"]]
    also = f", or <code>{escape([*body][1])}</code> with the image as text" if len(body) > 1 else ""
    yield f"<p>Body: <code>{escape(kind)}</code>{also}.</p>"
    yield f"<pre>{escape(_example(path, kind, models[0]))}</pre><h3>Parameters</h3>"
    for number, schema in enumerate(models):
        yield _model(schema, is_open=number == 0)


def _example(path: str, kind: str, schema: Schema) -> str:
    values = {name: _sample(name, schema["properties"][name]) for name in schema["required"]}
    start = f'curl "$STEP_BASE_URL{path.removeprefix("/v1")}" -H "Authorization: Bearer $STEP_API_KEY"'
    if kind == "application/json":
        return f"{start} \\\n  -H 'Content-Type: application/json' \\\n  -d '{json.dumps(values)}'"
    fields = (f"-F {name}={'@photo.png' if name == 'image' else json.dumps(value)}" for name, value in values.items())
    return " \\\n  ".join([start, *fields])


def _sample(name: str, schema: Schema) -> object:
    samples = {"prompt": "A serene alpine lake", "source_url": "data:image/png;base64,...", "source_weight": 0.5}
    return samples.get(name, schema.get("const", "..."))


def _model(schema: Schema, *, is_open: bool) -> str:
    name = schema["properties"]["model"]["const"]
    rows = (_parameter(name, field, schema["required"]) for name, field in schema["properties"].items())
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(name)}</summary><p>{escape(schema['description'])}</p>"
        f"{_table(('parameter', 'values', 'default', 'meaning'), rows)}</details>"
    )


def _parameter(name: str, field: Schema, required: list[str]) -> tuple[str, ...]:
    default = "required" if name in required else "" if "default" not in field else json.dumps(field["default"])
    return f"<code>{escape(name)}</code>", escape(_values(field)), escape(default), escape(field["description"])


def _values(field: Schema) -> str:
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return ", ".join(json.dumps(value) for value in field["enum"] if value is not None)
    kinds = field.get("type", "anything")
    kind = kinds if isinstance(kinds, str) else next(kind for kind in kinds if kind != "null")
    return f"{kind}{_range(field)}"


_BOUNDS = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("minLength", "of {}"),
    ("maxLength", "to {} characters"),
)


def _range(field: Schema) -> str:
    if field.get("minimum") == field.get("maximum") is not None:
        return f" {field['minimum']}"
    return "".join(f" {form.format(field[bound])}" for bound, form in _BOUNDS if bound in field)


# --- responses ------------------------------------------------------------------------------------


def _responses(description: Mapping[str, Any], call: Schema) -> str:
    rows = (_response(status, _resolved(description, response)) for status, response in call["responses"].items())
    return _table(("status", "meaning", "body"), rows)


def _response(status: str, response: Schema) -> tuple[str, ...]:
    kind, content = next(iter(response["content"].items()))
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return (
        status,
        escape(response["description"]),
        f"{escape(kind)}{f'<br><small>{escape(name)}</small>' if name else ''}",
    )


def _resolved(description: Mapping[str, Any], schema: Schema) -> Schema:
    """Return what a reference within the description leads to."""
    if "$ref" not in schema:
        return schema
    found: Any = description
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return cast("Schema", found)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    heads = "".join(f"<th scope='col'>{name}</th>" for name in head)
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='table'><table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>"
