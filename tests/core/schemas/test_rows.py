"""JSON Schemas of rows: a standard validator and `problems()` agree, but for what no schema can say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stepfun_async import Capability, TextToImage, capabilities, register_model, servers
from stepfun_async._core import image_rules, registry, rules, size_rules
from stepfun_async._core.capabilities import BUILT_IN
from stepfun_async._core.requests import REQUESTS
from stepfun_async._core.schemas.rules import MEANINGS, Form, schema_of_rule

from .values import DATA_URI, LINK, MAKERS, USUAL, beside, edges

OPEN = servers("vllm-omni").open_rows("open-schema")
ROWS = (*BUILT_IN, *OPEN)
SCHEMAS = {(row.model, row.operation): Draft202012Validator(row.json_schema()) for row in ROWS}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the rows of `OPEN` in the tables, for each test only."""
    table = dict(registry._table) | {(row.model, row.operation): row for row in OPEN}
    monkeypatch.setattr(registry, "_table", table)


def problems(row: Capability, values: dict[str, Any]) -> list[str]:
    request = REQUESTS[row.operation](**{"model": row.model, **values})
    return [str(problem) for problem in request.problems()]


@pytest.mark.parametrize("row", BUILT_IN, ids=lambda row: f"{row.model} {row.operation}")
def test_schemas_are_valid_and_plain_json(row: Capability) -> None:
    schema = row.json_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), row=st.sampled_from(ROWS))
def test_a_standard_validator_and_problems_agree(data: st.DataObject, row: Capability) -> None:
    values = data.draw(beside(row))
    errors = [error.message for error in SCHEMAS[row.model, row.operation].iter_errors(values)]
    assert bool(errors) == bool(problems(row, values)), (values, errors, problems(row, values))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model} {row.operation}")
def test_they_agree_at_every_edge(row: Capability) -> None:
    required = {name: USUAL[name] for name, rule in row.rules.items() if rule.required}
    for name, rule in row.rules.items():
        for value in edges(rule):
            values = {**required, name: value}
            errors = [error.message for error in SCHEMAS[row.model, row.operation].iter_errors(values)]
            assert bool(errors) == bool(problems(row, values)), (values, errors, problems(row, values))


UNSAYABLE: list[tuple[str, str, dict[str, Any], bool]] = [
    # What `problems()` refuses although the schema allows it, and the other way round.
    ("step-image-edit-2", "edit", {"image": "data:image/png;base64,AAAA"}, False),
    ("step-image-edit-2", "edit", {"image": "no/such/file.png"}, False),
    ("step-2x-large", "image_to_image", {"image": "https:///no-host.png", "source_weight": 1}, False),
    ("step-2x-large", "text_to_image", {"prompt": "half of a pair: \ud83c"}, False),
    ("step-2x-large", "text_to_image", {"cfg_scale": float("nan")}, False),
    ("step-2x-large", "text_to_image", {"size": "32:20"}, True),
    ("step-2x-large", "text_to_image", {"sparkle": None}, True),
]
"""The list in docs/schemas.md, each with a request and whether `problems()` accepts it."""


@pytest.mark.parametrize(("model", "operation", "values", "accepted"), UNSAYABLE)
def test_what_no_schema_can_say(model: str, operation: Any, values: dict[str, Any], accepted: bool) -> None:
    row = capabilities(model, operation)
    values = {"prompt": "a", **values}
    assert (not problems(row, values)) is accepted
    assert SCHEMAS[model, operation].is_valid(values) is not accepted


def test_every_kind_of_rule_and_every_parameter_is_described() -> None:
    kinds = {
        kind.__name__
        for module in (rules, image_rules, size_rules)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, rules.Rule)
    }
    assert kinds - {"Rule"} == {kind.__name__ for kind in MAKERS}
    for row in BUILT_IN:
        for name, rule in row.rules.items():
            assert schema_of_rule(name, rule, Form())["description"].startswith(MEANINGS[name][:5])


def test_a_size_is_named_by_its_shape() -> None:
    ways = capabilities("step-image-edit-2", "text_to_image").json_schema()["properties"]["size"]["anyOf"]
    titles = {way["const"]: way["title"] for way in ways if "const" in way}
    assert titles["768x1360"] == titles["16:9"] == "1360 x 768 (16:9, landscape)"
    assert titles["1360x768"] == titles["9:16"] == "768 x 1360 (9:16, portrait)"


def test_descriptions_have_units_and_sources() -> None:
    for row in BUILT_IN:
        for name, field in row.json_schema()["properties"].items():
            assert field["description"].endswith("."), name
            assert "Source: StepFun documentation" in field["description"] or name in ("model", "extra_body")
    edit = capabilities("step-1x-edit", "edit").json_schema()["properties"]
    assert "each side 64 to 4096 pixels" in edit["image"]["description"]
    assert "1 to 512 characters" in edit["prompt"]["description"]


def test_a_model_registered_a_moment_ago_has_its_own_schema() -> None:
    name = register_model("acme-schema", like="step-2x-large", ranges={"steps": (1, 4)}, sizes=["640x360"])
    schema = capabilities(name, "text_to_image").json_schema()
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"prompt": "a", "steps": 4, "size": "640x360"})
    assert not validator.is_valid({"prompt": "a", "steps": 5})
    assert schema["properties"]["size"]["anyOf"][0] == {"const": "640x360", "title": "640 x 360 (16:9, landscape)"}


def test_the_wire_form_has_the_documented_sizes_only() -> None:
    rule = capabilities("step-2x-large", "text_to_image").rules["size"]
    schema = Draft202012Validator(schema_of_rule("size", rule, Form(sizes="wire")))
    assert schema.is_valid("1280x800")
    assert not schema.is_valid("16:10")


def test_what_is_sent_from_elsewhere_names_no_file() -> None:
    schema = Draft202012Validator(TextToImage.model_json_schema())
    style = {"model": "step-1x-medium", "prompt": "a"}
    assert schema.is_valid({**style, "style_reference": {"source_url": DATA_URI}})
    assert schema.is_valid({**style, "style_reference": {"source_url": LINK}})
    assert not schema.is_valid({**style, "style_reference": {"source_url": "cat.png"}})
