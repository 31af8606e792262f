"""The schema of a line: a standard validator and the batch agree, but for what docs/schemas.md lists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stepfun_async import ConfigurationError, batch_schema, register_model
from stepfun_async._core.capabilities import BUILT_IN, Capability
from stepfun_async.batch.inputs.jobs import JobDefaults, parse_job
from tests.core.schemas.values import DATA_URI, beside

DEFAULTS: list[dict[str, Any]] = [
    {},
    {"model": "step-2x-large", "steps": 5},
    {"prompt": "a lake", "operation": "edit"},
    {"image": DATA_URI},
    {"image": DATA_URI, "source_weight": 0.5},
    {"size": "1:1"},
]
VALIDATORS = [Draft202012Validator(batch_schema(defaults)) for defaults in DEFAULTS]


@st.composite
def lines(draw: st.DrawFn, row: Capability) -> dict[str, Any]:
    """A line near a row: its model or operation may be another, and it may name its sides."""
    line = draw(beside(row))
    model = st.sampled_from([row.model] * 4 + [None, "step-2x-large", "nope"])
    operation = st.sampled_from([row.operation] * 4 + [None, "generate", "edit", "fly"])
    sides = st.sampled_from([{}] * 4 + [{"width": 1024, "height": 1024}, {"width": 1024}, {"height": 7, "width": 1024}])
    ids = st.sampled_from([{}] * 4 + [{"id": each} for each in ("a", "", "a" * 201, 7, 7.5, None, [1])])
    named: dict[str, Any] = {"model": draw(model), "operation": draw(operation)}
    return {**line, **draw(sides), **draw(ids), **{name: value for name, value in named.items() if draw(st.booleans())}}


def is_odd(line: dict[str, Any]) -> bool:
    """Whether a line has something that the batch reads in its own way, as docs/schemas.md lists."""
    mappings = [value for value in line.values() if isinstance(value, dict)]
    return any(not any(part is not None for part in value.values()) for value in mappings) or isinstance(
        line.get("size"), dict
    )


@given(data=st.data(), row=st.sampled_from(BUILT_IN), number=st.integers(0, len(DEFAULTS) - 1))
def test_a_standard_validator_and_the_batch_agree(data: st.DataObject, row: Capability, number: int) -> None:
    line = data.draw(lines(row).filter(lambda line: not is_odd(line)))
    errors = [error.message for error in VALIDATORS[number].iter_errors(line)]
    problems = [str(problem) for problem in parse_job(1, line, JobDefaults(DEFAULTS[number])).problems]
    assert bool(errors) == bool(problems), (line, errors, problems)


@pytest.mark.parametrize("defaults", DEFAULTS, ids=str)
def test_schemas_are_valid_and_plain_json(defaults: dict[str, Any]) -> None:
    schema = batch_schema(defaults)
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"prompt": "a", "steps": 99}, "99 is greater than the maximum of 50"),
        ({"prompt": "a", "model": "nope"}, "'nope' is not one of"),
        ({"prompt": "a", "model": "step-1x-edit"}, "'step-1x-edit' is not one of"),
        ({"image": "a.png"}, "'prompt' is a required property"),
        ({"prompt": "a", "sparkle": 1}, "Additional properties are not allowed ('sparkle' was unexpected)"),
    ],
)
def test_an_error_names_the_rule(line: dict[str, Any], message: str) -> None:
    assert any(message in error.message for error in VALIDATORS[0].iter_errors(line))


def test_lines_for_another_server_have_its_rules() -> None:
    register_model("Qwen/Qwen-Image", server="vllm-omni")
    validator = Draft202012Validator(batch_schema({"model": "Qwen/Qwen-Image"}, server="vllm-omni"))
    assert validator.is_valid({"prompt": "a", "size": "640x368"})
    assert not validator.is_valid({"prompt": "a", "size": "0x368"})
    with pytest.raises(ConfigurationError, match="nope"):
        batch_schema(server="nope")


def test_a_model_registered_a_moment_ago_is_in_the_schema() -> None:
    register_model("acme #7/x", like="step-2x-large", ranges={"steps": (1, 4)})
    validator = Draft202012Validator(batch_schema())
    assert validator.is_valid({"prompt": "a", "model": "acme #7/x", "steps": 4})
    assert not validator.is_valid({"prompt": "a", "model": "acme #7/x", "steps": 5})
