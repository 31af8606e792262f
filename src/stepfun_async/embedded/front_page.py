"""The page at `/` of the served engine: what it is, a form that makes an image, and the bill. It loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

from stepfun_async._core.capabilities import Capability, Operation
from stepfun_async._core.image_rules import ImageInput
from stepfun_async._core.rules import Boolean, Ignored, Integer, Number, Rule, Text
from stepfun_async._core.size_rules import AnySize, Sizes
from stepfun_async._core.wire import wire_name

from .engine import Engine

_OPERATIONS: Mapping[Operation, str] = MappingProxyType(
    {"text_to_image": "text to image", "edit": "edit an image", "image_to_image": "image to image"}
)
_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "Prompt",
        "image": "Image",
        "source_weight": "Distance from the image",
        "size": "Size",
        "seed": "Seed",
        "steps": "Steps",
        "cfg_scale": "Guidance (cfg_scale)",
        "negative_prompt": "Negative prompt",
        "text_mode": "Write text in the image",
    }
)
"""The parameters that the form has, in their order."""


def page(engine: Engine) -> tuple[str, str]:
    """Return the page, and the content security policy that goes with it."""
    rows = list(engine.backend.rows())
    models = list(dict.fromkeys(row.model for row in rows))
    purpose = engine.backend.purpose
    facts = json.dumps([_facts(row) for row in rows]).replace("<", "\\u003c")
    key = "any text will do" if engine.keys is None else "one of the server's keys"
    values = {
        "PURPOSE": escape(f"{purpose[:1].upper()}{purpose[1:]}."),
        "MODELS": "".join(f"<li><b>{escape(model)}</b> {escape(_can(rows, model))}</li>" for model in models),
        "CHOICES": "".join(
            f"<option value='{index}'>{escape(row.model)}: {_OPERATIONS[row.operation]}</option>"
            for index, row in enumerate(rows)
        ),
        "KEY": f"<input id='key' type='password' autocomplete='off' value='{'' if engine.keys else 'local'}'>",
        "KEY_NOTE": key,
        "FACTS": facts,
        "STYLE": _STYLE,
        "SCRIPT": _SCRIPT,
    }
    return re.sub(r"{{([A-Z_]+)}}", lambda name: values[name[1]], _PAGE), _POLICY


def _can(rows: list[Capability], model: str) -> str:
    return ", ".join(_OPERATIONS[row.operation] for row in rows if row.model == model)


def _facts(row: Capability) -> dict[str, object]:
    """Return what the page's script has to say about a row."""
    return {
        "model": row.model,
        "path": row.endpoint.path,
        "form": row.endpoint.body == "form",
        "fields": list(_fields(row)),
    }


def _fields(row: Capability) -> Iterator[dict[str, object]]:
    for name, label in _LABELS.items():
        rule = row.rules.get(name)
        if rule is not None and not isinstance(rule, Ignored):
            note = "" if isinstance(rule, Sizes | ImageInput) else rule.note
            name = wire_name(row.operation, name)
            yield {"name": name, "label": label, "required": rule.required, "note": note, **_field(rule)}


def _field(rule: Rule) -> dict[str, Any]:
    match rule:
        case Text():
            return {"kind": "text", "most": rule.maximum}
        case Boolean():
            return {"kind": "flag"}
        case Sizes():
            options = [[size.to_wire(rule.order), size.label] for size in rule.options]
            return {"kind": "choice", "options": options, "value": rule.default}
        case AnySize():
            hint = "WIDTHxHEIGHT" if rule.order == "width x height" else "HEIGHTxWIDTH"
            return {"kind": "word", "value": rule.default or "", "hint": hint}
        case Integer() | Number():
            step = 1 if isinstance(rule, Integer) else "any"
            value = 0.5 if rule.required else "" if rule.default is None else rule.default
            return {"kind": "number", "least": rule.minimum, "most": rule.maximum, "step": step, "value": value}
        case ImageInput():
            return {"kind": "file", "accept": ",".join(f"image/{name}" for name in rule.formats)}
        case _:
            return {"kind": "word", "value": "", "hint": rule.wire_allowed}


def bill(engine: Engine, key: str | None) -> dict[str, object] | None:
    """Return what was charged, for JSON; `None` if `key` is not one of the server's."""
    if engine.keys is not None and key not in engine.keys:
        return None
    found = engine.bill(None if engine.keys is None else key)
    spent = {currency: f"{amount:f}" for currency, amount in found.spent.items() if amount}
    return {"calls": found.calls, "images": found.images, "spent": spent, "seconds": round(found.seconds, 3)}


# --- the document -----------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --accent: #0b63ce; --on: #fff; --bad: #b00020; }
@media (prefers-color-scheme: dark) { :root { --accent: #7ab7ff; --on: #06203f; --bad: #ff8a9a; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.1rem; margin: 0 0 .6rem; }
a { color: var(--accent); }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
main { display: grid; gap: 1.5rem; grid-template-columns: minmax(0, 22rem) minmax(0, 1fr); margin: 1.5rem 0; }
section { border: 1px solid var(--line); border-radius: .7rem; padding: 1.1rem; }
label { display: block; font-weight: 600; margin: .8rem 0 .2rem; }
form > label:first-child { margin-top: 0; }
footer h2:not(:first-child) { margin-top: 1.5rem; }
small { display: block; opacity: .75; }
input, select, textarea { background: Canvas; border: 1px solid #888; border-radius: .4rem; color: inherit;
  font: inherit; padding: .45rem .6rem; width: 100%; }
input[type=checkbox] { margin-right: .5rem; width: auto; }
textarea { min-height: 5.5rem; resize: vertical; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.pair { display: grid; gap: 0 .8rem; grid-template-columns: 1fr 1fr; }
.pair > div:nth-child(odd):last-child { grid-column: 1 / -1; }
.buttons { display: flex; gap: .6rem; margin-top: 1.1rem; }
button { background: var(--accent); border: 1px solid var(--accent); border-radius: .4rem; color: var(--on);
  cursor: pointer; flex: 1; font: inherit; font-weight: 600; padding: .55rem 1rem; }
button.plain { background: none; color: var(--accent); flex: 0 0 auto; }
button:disabled { cursor: default; opacity: .5; }
figure { margin: 0; }
figure img { border-radius: .5rem; display: block; height: auto; margin: 0 auto; max-height: 75vh; max-width: 100%; }
figcaption { margin-top: .6rem; overflow-wrap: anywhere; }
section p { margin: 0; }
.empty { align-items: center; background: var(--soft); border-radius: .5rem; display: flex; justify-content: center;
  min-height: 20rem; padding: 1rem; text-align: center; }
.wrong { color: var(--bad); overflow-wrap: anywhere; white-space: pre-wrap; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
@media (max-width: 46rem) { main { grid-template-columns: minmax(0, 1fr); } .empty { min-height: 9rem; } }
"""

_SCRIPT = """
const rows = JSON.parse(document.getElementById('rows').textContent);
const at = id => document.getElementById(id);
const base = location.origin + '/v1';
at('base').textContent = base;
let stop = null;

function input(field) {
  let box;
  if (field.kind === 'choice') {
    box = document.createElement('select');
    for (const [value, label] of field.options) box.add(new Option(label, value));
    box.value = field.value ?? field.options[0][0];
  } else if (field.kind === 'text') {
    box = document.createElement(field.required ? 'textarea' : 'input');
    box.maxLength = field.most;
  } else {
    box = document.createElement('input');
    box.type = {number: 'number', flag: 'checkbox', file: 'file'}[field.kind] ?? 'text';
    if (field.kind === 'number') Object.assign(box, {min: field.least, max: field.most, step: field.step});
    if (field.kind === 'file') box.accept = field.accept;
    if (field.hint) box.placeholder = field.hint;
    if (field.kind !== 'flag' && field.kind !== 'file') box.value = field.value ?? '';
  }
  box.id = 'field-' + field.name;
  box.required = field.required;
  return box;
}

function shown(field, kept) {
  const part = document.createElement('div'), label = document.createElement('label'), box = input(field);
  if (kept && field.kind === 'text') box.value = kept;
  label.htmlFor = box.id;
  if (field.kind === 'flag') label.append(box, field.label);
  else label.textContent = field.label;
  part.append(label);
  if (field.kind !== 'flag') part.append(box);
  if (field.note) {
    const note = document.createElement('small');
    note.id = box.id + '-note';
    note.textContent = field.note;
    box.setAttribute('aria-describedby', note.id);
    part.append(note);
  }
  return part;
}

function choose() {
  const kept = at('field-prompt')?.value, long = [], short = [];
  for (const field of rows[at('row').value].fields) {
    const wide = field.kind === 'text' || field.kind === 'file' || field.kind === 'choice' || field.kind === 'flag';
    (wide ? long : short).push(shown(field, field.name === 'prompt' && kept));
  }
  const pair = document.createElement('div');
  pair.className = 'pair';
  pair.append(...short);
  at('fields').replaceChildren(...long, pair);
}

const dataUri = file => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

async function values(row) {
  const parameters = {model: row.model, response_format: 'b64_json'};
  for (const field of row.fields) {
    const box = at('field-' + field.name);
    if (field.kind === 'flag') { if (box.checked) parameters[field.name] = true; }
    else if (field.kind === 'file') {
      const file = box.files[0];
      if (file) parameters[field.name] = row.form ? file : await dataUri(file);
    }
    else if (box.value !== '') parameters[field.name] = field.kind === 'number' ? Number(box.value) : box.value;
  }
  return parameters;
}

const headers = () => ({authorization: 'Bearer ' + at('key').value});

async function send(row) {
  const parameters = await values(row), more = {};
  let body;
  if (row.form) {
    body = new FormData();
    for (const [name, value] of Object.entries(parameters)) body.append(name, value);
  } else {
    body = JSON.stringify(parameters);
    more['content-type'] = 'application/json';
  }
  stop = new AbortController();
  const how = {method: 'POST', body, headers: {...headers(), ...more}, signal: stop.signal};
  const response = await fetch(base + row.path, how);
  const content = await response.json();
  if (!response.ok) throw new Error(response.status + ': ' + (content.error?.message ?? JSON.stringify(content)));
  return {...content.data[0], prompt: parameters.prompt};
}

function show(image, seconds) {
  if (!image.b64_json) throw new Error('The content filter withheld the image.');
  const figure = document.createElement('figure'), made = new Image(), text = document.createElement('figcaption');
  const link = document.createElement('a');
  made.alt = image.prompt;
  made.src = link.href = 'data:image/png;base64,' + image.b64_json;
  link.download = 'image-' + image.seed + '.png';
  link.textContent = 'Download';
  made.onload = () => text.replaceChildren(
    `${made.naturalWidth} x ${made.naturalHeight} pixels, seed ${image.seed}, in ${seconds.toFixed(1)} s. `, link);
  figure.append(made, text);
  at('result').replaceChildren(figure);
}

function showMessage(text, kind) {
  const line = document.createElement('p');
  line.className = kind;
  line.textContent = text;
  at('result').replaceChildren(line);
  return line;
}

async function bill() {
  const response = await fetch('/', {headers: {...headers(), accept: 'application/json'}});
  const found = (await response.json()).bill;
  if (!found) { at('bill').textContent = 'shown for a valid key'; return; }
  const money = Object.entries(found.spent).map(([name, amount]) => amount + ' ' + name).join(', ');
  const work = found.seconds ? found.seconds.toFixed(1) + ' s of work' : '';
  const paid = money || work || 'no money';
  const counted = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;
  at('bill').textContent = [counted(found.calls, 'request'), counted(found.images, 'image'), paid].join(', ');
}

at('form').addEventListener('submit', async event => {
  event.preventDefault();
  const began = performance.now();
  at('make').disabled = true;
  at('stop').disabled = false;
  const taken = () => (performance.now() - began) / 1000, passed = document.createElement('span');
  showMessage('Making the image\\u2026\\u00a0', 'empty').append(passed);
  passed.ariaHidden = 'true';
  const clock = setInterval(() => passed.textContent = taken().toFixed(0) + ' s', 250);
  let end;
  try {
    const image = await send(rows[at('row').value]);
    const seconds = taken();
    end = () => show(image, seconds);
  } catch (error) {
    const stopped = error.name === 'AbortError';
    end = () => showMessage(stopped ? 'Stopped.' : error.message, stopped ? 'empty' : 'wrong');
  }
  clearInterval(clock);
  try { end(); } catch (error) { showMessage(error.message, 'wrong'); }
  at('make').disabled = false;
  at('stop').disabled = true;
  bill();
});
at('stop').addEventListener('click', () => stop?.abort());
at('row').addEventListener('change', choose);
at('key').addEventListener('change', bill);
choose();
bill();
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>stepfun-async serve</title>
<link rel="icon" href="data:,">
<style>{{STYLE}}</style>
</head>
<body>
<header>
<h1>stepfun-async serve</h1>
<p>{{PURPOSE}} Base URL for clients: <code id="base"></code>.
<a href="/docs">All calls and parameters</a>, <a href="/openapi.json">OpenAPI</a>.</p>
</header>
<main>
<section aria-label="Request">
<form id="form">
<label for="row">Model</label>
<select id="row">{{CHOICES}}</select>
<div id="fields"></div>
<label for="key">Key</label>{{KEY}}<small>{{KEY_NOTE}}</small>
<div class="buttons"><button id="make">Make the image</button>
<button id="stop" class="plain" type="button" disabled>Stop</button></div>
</form>
<noscript><p class="wrong">The form needs JavaScript; every other client works without this page.</p></noscript>
</section>
<section aria-label="Image">
<div id="result" aria-live="polite"><p class="empty">The image appears here.</p></div>
</section>
</main>
<footer>
<h2>Bill</h2><p id="bill">none yet</p>
<h2>Models</h2><ul>{{MODELS}}</ul>
</footer>
<script type="application/json" id="rows">{{FACTS}}</script>
<script>{{SCRIPT}}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_hash(_SCRIPT)}",
        f"style-src {_hash(_STYLE)}",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Allows the page's own script and style, and calls to its own server."""
