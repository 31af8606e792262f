"""The whole table, cell by cell, against the fact sheet; and what `register_model` adds to it.

The numbers below are written out a second time on purpose: a fact that changes in one place only is a mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias, cast, get_args

import pytest

from stepfun_async import ConfigurationError, Size, TextToImage, capabilities, register_model
from stepfun_async._core import registry as module
from stepfun_async._core.capabilities import (
    BUILT_IN,
    ENDPOINTS,
    SOURCES,
    Capability,
    Endpoint,
    Lifecycle,
    Operation,
    Region,
)
from stepfun_async._core.image_rules import Style
from stepfun_async._core.money import Money
from stepfun_async._core.rules import Rule
from stepfun_async._core.size_rules import Sizes

Facts: TypeAlias = dict[str, object]

TEN_MB = 10 * 1024 * 1024
PROMPT: Facts = {"kind": "text", "required": True, "minimum": 1, "maximum": 512, "default": None}
LONG_PROMPT: Facts = {**PROMPT, "maximum": 1024}
FORMAT: Facts = {"kind": "choice", "required": False, "options": ("url", "b64_json"), "default": "url"}
SEED: Facts = {"kind": "whole number", "required": False, "minimum": 0, "maximum": 2147483647, "default": None}
ONE: Facts = {"kind": "whole number", "required": False, "minimum": 1, "maximum": 1, "default": 1}
NEGATIVE: Facts = {"kind": "text", "required": False, "minimum": 0, "maximum": 512, "default": ""}
TEXT_MODE: Facts = {"kind": "flag", "required": False, "default": False}
WEIGHT: Facts = {"kind": "number", "required": True, "minimum": 0.0, "above": True, "maximum": 1.0, "default": None}
STYLE_WEIGHT: Facts = {
    "kind": "number",
    "required": False,
    "minimum": 0.0,
    "above": True,
    "maximum": 2.0,
    "default": 1.0,
}
STYLE_IMAGE: Facts = {
    "formats": ("png", "jpeg"),
    "max_bytes": TEN_MB,
    "links": True,
    "min_side": 1,
    "max_ratio": None,
}
STYLE: Facts = {"kind": "style reference", "required": False, "image": STYLE_IMAGE, "weight": STYLE_WEIGHT}


def _steps(maximum: int, default: int) -> Facts:
    return {"kind": "whole number", "required": False, "minimum": 1, "maximum": maximum, "default": default}


def _cfg(default: float) -> Facts:
    bounds = {"minimum": 1.0, "maximum": 10.0, "above": False}
    return {"kind": "number", "required": False, **bounds, "default": default}


# What each wire string means, as (width, height).
EDIT_2_SIZES: Facts = {
    "kind": "size",
    "default": "1024x1024",
    "means": {
        "1024x1024": (1024, 1024),
        "768x1360": (1360, 768),
        "896x1184": (1184, 896),
        "1360x768": (768, 1360),
        "1184x896": (896, 1184),
    },
}
STEP_SIZES: Facts = {
    "kind": "size",
    "default": "1024x1024",
    "means": {
        "256x256": (256, 256),
        "512x512": (512, 512),
        "768x768": (768, 768),
        "1024x1024": (1024, 1024),
        "1280x800": (1280, 800),
        "800x1280": (800, 1280),
    },
}
EDIT_1X_SIZES: Facts = {
    "kind": "size",
    "default": "512x512",
    "means": {"512x512": (512, 512), "768x768": (768, 768), "1024x1024": (1024, 1024)},
}

EDIT_2_PHOTO: Facts = {
    "kind": "image",
    "required": True,
    "formats": ("png", "jpeg", "webp"),
    "max_bytes": 160 * 1024 * 1024,  # documented nowhere: what no such image exceeds
    "min_side": 1,
    "max_side": 4096,
    "max_ratio": None,
    "links": False,
}
EDIT_1X_PHOTO: Facts = {**EDIT_2_PHOTO, "max_bytes": TEN_MB, "min_side": 64, "max_ratio": 3.0}
SOURCE_PHOTO: Facts = {**EDIT_2_PHOTO, "formats": ("png", "jpeg"), "max_bytes": TEN_MB, "max_side": 2048, "links": True}

TABLE: dict[tuple[str, str], dict[str, Facts]] = {
    ("step-image-edit-2", "text_to_image"): {
        "prompt": PROMPT,
        "size": EDIT_2_SIZES,
        "n": ONE,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(50, 8),
        "cfg_scale": _cfg(1.0),
        "negative_prompt": NEGATIVE,
        "text_mode": TEXT_MODE,
    },
    ("step-2x-large", "text_to_image"): {
        "prompt": PROMPT,
        "size": STEP_SIZES,
        "n": ONE,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(50, 50),
        "cfg_scale": _cfg(6.0),
    },
    ("step-1x-medium", "text_to_image"): {
        "prompt": PROMPT,
        "size": STEP_SIZES,
        "n": ONE,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(50, 50),
        "cfg_scale": _cfg(7.5),
        "style_reference": STYLE,
    },
    ("step-image-edit-2", "edit"): {
        "image": EDIT_2_PHOTO,
        "prompt": PROMPT,
        "size": {"kind": "ignored", "required": False, "default": None},
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(50, 8),
        "cfg_scale": _cfg(1.0),
        "negative_prompt": NEGATIVE,
        "text_mode": TEXT_MODE,
    },
    ("step-1x-edit", "edit"): {
        "image": EDIT_1X_PHOTO,
        "prompt": PROMPT,
        "size": EDIT_1X_SIZES,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(50, 28),
        "cfg_scale": _cfg(6.0),
    },
    ("step-2x-large", "image_to_image"): {
        "image": SOURCE_PHOTO,
        "prompt": LONG_PROMPT,
        "source_weight": WEIGHT,
        "size": STEP_SIZES,
        "n": ONE,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(100, 50),
        "cfg_scale": _cfg(6.0),
    },
    ("step-1x-medium", "image_to_image"): {
        "image": SOURCE_PHOTO,
        "prompt": LONG_PROMPT,
        "source_weight": WEIGHT,
        "size": STEP_SIZES,
        "n": ONE,
        "response_format": FORMAT,
        "seed": SEED,
        "steps": _steps(100, 50),
        "cfg_scale": _cfg(7.5),
    },
}

CELLS = [(model, operation, name) for (model, operation), row in TABLE.items() for name in row]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that a test registers are gone after it."""
    monkeypatch.setattr(module, "_table", dict(module._table))


def _built_in() -> Iterator[Capability]:
    yield from BUILT_IN


def _facts(rule: Rule) -> Facts:
    facts = {name.name: getattr(rule, name.name) for name in dataclasses.fields(rule)}
    facts["kind"] = rule.kind
    if isinstance(rule, Sizes):
        facts["means"] = {
            text: (size.width, size.height) for text, size in zip(rule.wire_options, rule.options, strict=True)
        }
    if isinstance(rule, Style):
        facts.update(image=_facts(rule.image), weight=_facts(rule.weight))
    return facts


def _only(facts: Facts, wanted: Facts) -> Facts:
    return {
        name: _only(cast("Facts", facts[name]), cast("Facts", value))
        if isinstance(value, dict) and name != "means"
        else facts.get(name)
        for name, value in wanted.items()
    }


def test_the_table_has_exactly_the_documented_rows() -> None:
    assert {(row.model, row.operation) for row in _built_in()} == set(TABLE)


@pytest.mark.parametrize(("model", "operation"), TABLE)
def test_a_row_has_exactly_the_documented_parameters(model: str, operation: Operation) -> None:
    assert set(capabilities(model, operation).rules) == set(TABLE[model, operation])


@pytest.mark.parametrize(("model", "operation", "name"), CELLS)
def test_a_cell_says_what_is_documented(model: str, operation: Operation, name: str) -> None:
    wanted = TABLE[model, operation][name]
    assert _only(_facts(capabilities(model, operation).rules[name]), wanted) == wanted


@pytest.mark.parametrize(("model", "operation", "name"), CELLS)
def test_every_rule_names_a_source_that_is_explained(model: str, operation: Operation, name: str) -> None:
    assert capabilities(model, operation).rules[name].source in SOURCES


@pytest.mark.parametrize(
    ("model", "international", "china"),
    [
        ("step-image-edit-2", ("0.003", "USD"), ("0.02", "CNY")),
        ("step-2x-large", ("0.02", "USD"), ("0.1", "CNY")),
        ("step-1x-edit", ("0", "USD"), ("0", "CNY")),
        ("step-1x-medium", None, None),
    ],
)
def test_prices(model: str, international: tuple[str, str] | None, china: tuple[str, str] | None) -> None:
    named: tuple[tuple[Region, tuple[str, str] | None], ...] = (("international", international), ("china", china))
    for row in capabilities(model):
        assert dict(row.prices) == {region: Money(Decimal(cost[0]), cost[1]) for region, cost in named if cost}


@pytest.mark.parametrize(
    ("model", "ends", "successor"),
    [
        ("step-image-edit-2", date(2026, 10, 10), None),
        ("step-2x-large", date(2026, 10, 10), None),
        ("step-1x-medium", date(2026, 7, 8), "step-2x-large"),
        ("step-1x-edit", None, None),
    ],
)
def test_lifecycles(model: str, ends: date | None, successor: str | None) -> None:
    for row in capabilities(model):
        assert row.lifecycle is not None
        assert (row.lifecycle.ends, row.lifecycle.successor) == (ends, successor)
        assert row.lifecycle.source in SOURCES


@pytest.mark.parametrize(
    ("today", "over"),
    [(date(2026, 10, 9), False), (date(2026, 10, 10), True), (date(2026, 10, 11), True)],
)
def test_a_model_is_over_from_its_last_day_on(today: date, over: bool) -> None:
    assert Lifecycle(ends=date(2026, 10, 10), successor=None, source="").over(today) is over


def test_a_model_that_ended_on_an_unknown_day_is_over() -> None:
    assert Lifecycle(ends=None, successor=None, source="").over(date(2000, 1, 1))


def test_the_step_plan_has_one_model_for_generations_and_edits() -> None:
    assert {(row.model, row.operation) for row in _built_in() if row.step_plan} == {
        ("step-image-edit-2", "text_to_image"),
        ("step-image-edit-2", "edit"),
    }


def test_endpoints() -> None:
    assert dict(ENDPOINTS) == {
        "text_to_image": Endpoint("/images/generations", "json"),
        "edit": Endpoint("/images/edits", "form"),
        "image_to_image": Endpoint("/images/image2image", "json"),
    }
    assert set(ENDPOINTS) == set(get_args(Operation))
    assert capabilities("step-1x-edit", "edit").endpoint.path == "/images/edits"


def test_rows_cannot_be_changed() -> None:
    row = capabilities("step-2x-large", "text_to_image")
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.model = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        row.rules["steps"] = row.rules["seed"]  # type: ignore[index]
    with pytest.raises(TypeError):
        row.prices["china"] = Money(Decimal(1), "CNY")  # type: ignore[index]


# --- asking the table -----------------------------------------------------------------------------


def test_a_row_prints_for_people() -> None:
    lines = str(capabilities("step-2x-large", "image_to_image")).splitlines()
    assert lines[0] == "step-2x-large: image_to_image (price: 0.02 USD, 0.1 CNY)"
    assert "  source_weight    a number above 0 to 1; required" in lines
    assert "  steps            a whole number from 1 to 100; default 50" in lines


def test_without_arguments_all_rows_are_shown() -> None:
    assert capabilities() == BUILT_IN


def test_a_model_s_rows_are_shown() -> None:
    assert [row.operation for row in capabilities("step-image-edit-2")] == ["text_to_image", "edit"]


@pytest.mark.parametrize("ask", [("nope",), ("step-1x-edit", "text_to_image")])
def test_asking_for_what_is_not_there_names_the_known_models(ask: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="step-image-edit-2") as caught:
        capabilities(*ask)
    assert all(str(word) in str(caught.value) for word in ask)


def test_size_rule_of_a_row() -> None:
    sizes = capabilities("step-1x-edit", "edit").sizes
    assert sizes is not None
    assert sizes.wire_options == ("512x512", "768x768", "1024x1024")
    assert capabilities("step-image-edit-2", "edit").sizes is None


# --- adding to it -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("table")
class TestRegisterModel:
    def test_the_copy_has_all_that_is_not_changed(self) -> None:
        name = register_model("acme", like="step-image-edit-2")
        for old in capabilities("step-image-edit-2"):
            new = capabilities(name, old.operation)
            assert new.rules.keys() == old.rules.keys()
            assert [rule.allowed for rule in new.rules.values()] == [rule.allowed for rule in old.rules.values()]

    def test_it_has_no_price_no_end_and_no_plan_of_the_other(self) -> None:
        for row in capabilities(register_model("acme", like="step-image-edit-2")):
            assert (dict(row.prices), row.lifecycle, row.step_plan, row.source) == ({}, None, False, "registered")

    def test_requests_for_it_are_valid(self) -> None:
        assert TextToImage(model="acme", prompt="a lake").problems()
        register_model("acme", like="step-image-edit-2")
        assert TextToImage(model="acme", prompt="a lake", negative_prompt="no", cfg_scale=2).problems() == ()

    def test_ranges(self) -> None:
        ranges = {"steps": (2, 4), "prompt": (1, 5), "cfg_scale": (0.5, 2.5)}
        register_model("acme", like="step-2x-large", operations=["text_to_image"], ranges=ranges)
        assert TextToImage(model="acme", prompt="12345", steps=2, cfg_scale=0.5).problems() == ()
        wrong = TextToImage(model="acme", prompt="123456", steps=5, cfg_scale=2.6).problems()
        assert [(problem.field, problem.nearest) for problem in wrong] == [
            ("prompt", "12345"),
            ("steps", 4),
            ("cfg_scale", 2.5),
        ]

    def test_a_default_outside_the_new_range_is_forgotten(self) -> None:
        name = register_model("acme", like="step-2x-large", ranges={"steps": (1, 4), "cfg_scale": (1, 6)})
        rules = capabilities(name, "text_to_image").rules
        assert (rules["steps"].default, rules["cfg_scale"].default) == (None, 6.0)

    def test_sizes_as_words_or_values_and_the_first_is_the_default(self) -> None:
        sizes: list[str | Size] = ["640x480", Size(width=480, height=640)]
        rule = capabilities(register_model("acme", like="step-2x-large", sizes=sizes), "text_to_image").sizes
        assert rule is not None
        assert rule.options == (Size(width=640, height=480), Size(width=480, height=640))
        assert rule.default == "640x480"

    def test_sizes_keep_the_order_of_the_model_it_is_like(self) -> None:
        name = register_model("acme", like="step-image-edit-2", sizes=["480x640"])
        rule = capabilities(name, "text_to_image").sizes
        assert rule is not None
        assert rule.options == (Size(width=640, height=480),)

    def test_the_order_of_sizes_can_be_said(self) -> None:
        name = register_model("acme", like="step-image-edit-2", size_order="width x height")
        request = TextToImage(model=name, prompt="a", size=Size(width=1360, height=768))
        assert request.to_call().json == {
            "model": "acme",
            "prompt": "a",
            "size": "1360x768",
            "response_format": "b64_json",
        }

    def test_an_edit_that_took_no_size_can_take_one(self) -> None:
        name = register_model("acme", like="step-image-edit-2", operations=["edit"], sizes=["512x256"])
        rule = capabilities(name, "edit").sizes
        assert rule is not None
        assert rule.options == (Size(width=512, height=256),)

    def test_without(self) -> None:
        register_model("acme", like="step-image-edit-2", without=["negative_prompt", "response_format"])
        wrong = TextToImage(model="acme", prompt="a", negative_prompt="b").problems()
        assert [problem.field for problem in wrong] == ["negative_prompt"]
        request = TextToImage(model="acme", prompt="a")
        assert request.problems() == ()
        assert request.to_call().json == {"model": "acme", "prompt": "a"}

    def test_defaults(self) -> None:
        name = register_model("acme", like="step-2x-large", defaults={"steps": 20, "size": "512x512"})
        rules = capabilities(name, "text_to_image").rules
        assert (rules["steps"].default, rules["size"].default) == (20, "512x512")

    def test_a_default_is_held_against_the_new_range_and_sizes(self) -> None:
        changes: dict[str, Any] = {"ranges": {"steps": (60, 70)}, "sizes": ["64x64", "32x32"]}
        name = register_model("acme", like="step-2x-large", **changes, defaults={"steps": 65, "size": "32x32"})
        rules = capabilities(name, "text_to_image").rules
        assert (rules["steps"].default, rules["size"].default) == (65, "32x32")

    def test_prices(self) -> None:
        name = register_model("acme", like="step-2x-large", prices={"china": Money(Decimal("0.5"), "CNY")})
        request = TextToImage(model=name, prompt="a")
        assert (str(request.price("china")), request.price()) == ("0.5 CNY", None)

    def test_operations(self) -> None:
        name = register_model("acme", like="step-2x-large", operations=["image_to_image"])
        assert [row.operation for row in capabilities(name)] == ["image_to_image"]

    def test_registering_again_replaces(self) -> None:
        register_model("acme", like="step-2x-large", ranges={"steps": (1, 4)})
        register_model("acme", like="step-2x-large", ranges={"steps": (1, 6)})
        assert capabilities("acme", "text_to_image").rules["steps"].allowed == "a whole number from 1 to 6"

    def test_a_registered_model_can_be_the_start_of_another(self) -> None:
        register_model("acme", like="step-2x-large", ranges={"steps": (1, 4)})
        register_model("acme-2", like="acme")
        assert capabilities("acme-2", "text_to_image").rules["steps"].allowed == "a whole number from 1 to 4"

    @pytest.mark.parametrize(
        ("name", "changes", "said"),
        [
            ("step-2x-large", {}, "built-in"),
            ("acme", {"like": "nope"}, "nope"),
            ("acme", {"operations": ["edit"]}, "operations"),
            ("acme", {"operations": []}, "operations"),
            ("acme", {"without": ["negative_prompt"]}, "negative_prompt"),
            ("acme", {"ranges": {"stpes": (1, 2)}}, "stpes"),
            ("acme", {"ranges": {"size": (1, 2)}}, "size"),
            ("acme", {"ranges": {"steps": (4, 1)}}, "smallest first"),
            ("acme", {"ranges": {"steps": (1, 4.5)}}, "whole numbers"),
            ("acme", {"ranges": {"cfg_scale": (float("nan"), 1)}}, "smallest first"),
            ("acme", {"defaults": {"stpes": 1}}, "stpes"),
            ("acme", {"defaults": {"steps": 51}}, "a whole number from 1 to 50"),
            ("acme", {"defaults": {"size": "1x1"}}, "256 x 256"),
            ("acme", {"sizes": ["square"]}, "square"),
            ("acme", {"sizes": ["0x10"]}, "0x10"),
            ("acme", {"sizes": [Size(width=-1, height=10)]}, "width=-1"),
            ("acme", {"sizes": []}, "empty"),
            ("acme", {"sizes": "512x512"}, "such as \\['512x512'\\]"),
            ("acme", {"size_order": "height"}, "size_order is 'height'"),
            ("acme", {"ranges": {"steps": 5}}, "smallest and largest"),
            ("acme", {"ranges": {"steps": (None, 5)}}, "smallest and largest"),
            ("acme", {"ranges": {"steps": (1,)}}, "smallest and largest"),
            ("acme", {"ranges": [("steps", 1)]}, "ranges is a mapping"),
            ("acme", {"without": "steps"}, "write \\['steps'\\]"),
            ("acme", {"without": ["prompt"]}, "every text_to_image has prompt"),
            ("acme", {"operations": "edit"}, "write \\['edit'\\]"),
            ("acme", {"operations": ["image_to_image", "draw"]}, "operations has 'draw'"),
            ("acme", {"wire_names": {"steps": "x", "seed": "x"}}, "under one name, 'x'"),
            ("acme", {"wire_names": {"steps": "model"}}, "steps and the model under one name"),
            ("acme", {"wire_names": {"steps": ""}}, "wire_names has '' for steps"),
            ("acme", {"prices": {"china": 5}}, "the price of china is 5"),
            ("acme", {"prices": {"mars": Money(Decimal(1), "USD")}}, "is 'mars'; allowed: international, china"),
            ("", {}, "the name of a model is text"),
            (" acme", {}, "spaces around it: ' acme'"),
            (3, {}, "the name of a model is text"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_leaves_the_table_alone(
        self, name: Any, changes: dict[str, Any], said: str
    ) -> None:
        before = capabilities()
        with pytest.raises(ConfigurationError, match=said):
            register_model(name, **{"like": "step-2x-large", **changes})
        assert capabilities() == before


@pytest.mark.parametrize(("amount", "text"), [("0.003", "0.003 USD"), ("0", "0 USD"), ("1E+2", "100 USD")])
def test_money_is_written_without_exponents(amount: str, text: str) -> None:
    assert str(Money(Decimal(amount), "USD")) == text
