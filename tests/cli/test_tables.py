"""`models`, `check`, `account`, `--help` and `--version`: what is read from the tables."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stepfun_async import capabilities
from stepfun_async._core.rules import Integer, Number
from stepfun_async._core.size_rules import Sizes

from .conftest import Run

COMMANDS = [
    [],
    ["generate"],
    ["edit"],
    ["image-to-image"],
    ["check"],
    ["check", "generate"],
    ["check", "edit"],
    ["check", "image-to-image"],
    ["batch"],
    *(["batch", name] for name in ("run", "check", "status", "retry", "manifest", "pack")),
    ["models"],
    ["account"],
    ["serve"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_80_columns(cli: Run, command: list[str]) -> None:
    ran = cli(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert ("Examples:" if command else "Exit codes:") in ran.out


@pytest.mark.parametrize("command", [[], ["check"], ["batch"]], ids=["top", "check", "batch"])
def test_no_command_shows_the_help(cli: Run, command: list[str]) -> None:
    assert cli(*command) == cli(*command, "--help")


@pytest.mark.parametrize(
    ("command", "operation"),
    [("generate", "text_to_image"), ("edit", "edit"), ("image-to-image", "image_to_image")],
)
def test_help_has_the_ranges_of_the_tables(cli: Run, command: str, operation: str) -> None:
    text = " ".join(cli(command, "--help").out.split())
    for row in (row for row in capabilities() if row.operation == operation):
        assert row.model in text
        for name, rule in row.rules.items():
            if isinstance(rule, Sizes):
                assert ", ".join(size.label for size in rule.options) in text
            elif isinstance(rule, Integer | Number) and name != "n":
                assert rule.allowed.removeprefix("a whole number from ").removeprefix("a number from ") in text


def test_version(cli: Run) -> None:
    assert cli("--version") == (0, f"stepfun-async {version('stepfun-async')}\n", "")


def test_models_fit_60_columns_and_have_every_row(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    ran = cli("models")
    assert max(map(len, ran.out.splitlines())) <= 60
    blocks = [" ".join(block.split()) for block in ran.out.split("\n\n")[1:]]
    for block, row in zip(blocks, capabilities(), strict=True):
        assert block.startswith(row.model)
        assert row.operation in block
        assert (f"until {row.lifecycle.ends}" if row.lifecycle and row.lifecycle.ends else "ended") in block
        assert all(" ".join(size.label.split()[:3]) in block for size in (row.sizes.options if row.sizes else ()))


def test_models_of_one_model_show_every_rule(cli: Run) -> None:
    text = cli("models", "step-1x-medium").out
    for row in capabilities("step-1x-medium"):
        assert all(name in text for name in row.rules)
    assert "style_reference" in text
    assert "docs 2026-06: StepFun documentation as published in 2026-06" in text


def test_models_as_json_are_complete(cli: Run) -> None:
    rows = json.loads(cli("models", "--json").out)
    assert [(row["model"], row["operation"]) for row in rows] == [(row.model, row.operation) for row in capabilities()]
    first = rows[0]
    assert first["prices"]["china"] == {"amount": "0.02", "currency": "CNY"}
    assert first["lifecycle"]["ends"] == "2026-10-10"
    assert first["rules"]["steps"]["maximum"] == 50
    assert first["rules"]["size"]["options"][1] == {"width": 1360, "height": 768}
    assert first["rules"]["size"]["wire_options"][1] == "768x1360"
    assert list(first["rules"]) == list(capabilities()[0].rules)


@pytest.mark.parametrize(("model", "count"), [(["step-1x-edit"], 1), (["step-2x-large"], 2), ([], len(capabilities()))])
def test_models_have_schemas(cli: Run, model: list[str], count: int) -> None:
    schema = json.loads(cli("models", *model, "--schema").out)
    Draft202012Validator.check_schema(schema)
    assert len(schema.get("anyOf", [schema])) == count
    assert "maximum of 50" in str([*Draft202012Validator(schema.get("anyOf", [schema])[0]).iter_errors({"steps": 51})])


def test_check_needs_no_key_and_writes_nothing(cli: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEP_BASE_URL")
    ran = cli("check", "generate", "A lake", "--size", "16:9")
    assert ran.code == 0
    assert "price: 0.003 USD\n" in ran.out
    assert "size:  1360 x 768 (16:9, landscape)\n" in ran.out
    assert "sends: POST https://api.stepfun.ai/v1/images/generations\n" in ran.out
    assert "       size: 768x1360\n" in ran.out
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("url", "price"),
    [
        ("https://api.stepfun.com/v1", "0.02 CNY"),
        ("https://gateway.example/v1", "not known"),
        ("https://api.stepfun.ai/step_plan/v1", "from the Step Plan's monthly credit"),
        ("embedded", "0.003 USD (not charged)"),
    ],
)
def test_check_knows_the_price_by_the_host(cli: Run, url: str, price: str) -> None:
    assert f"price: {price}\n" in cli("check", "generate", "A lake", "--base-url", url).out


def test_check_refuses_what_the_client_would(cli: Run, folder: Path) -> None:
    plan = "https://api.stepfun.ai/step_plan/v1"
    ran = cli("check", "generate", "A lake", "--model", "step-2x-large", "--steps", "0", "--base-url", plan)
    assert ran.code == 2
    assert "the Step Plan does not have it" in ran.err
    assert "--steps: got 0" in ran.err


def test_check_shows_pictures_by_their_size(cli: Run, folder: Path) -> None:
    cli("generate", "A lake", "--size", "16:9", "--out", "lake.png")
    length = Path("lake.png").stat().st_size
    edit = cli("check", "edit", "lake.png", "Make it night").out
    assert f"image: image.png (image/png, {length:,} bytes)" in edit
    assert "size:  1360 x 768 (16:9, landscape)" in edit
    older = cli("check", "edit", "lake.png", "Make it night", "--model", "step-1x-edit").out
    assert "size:  about 512 x 512 pixels, in the ratio of the image sent" in older
    other = cli("check", "image-to-image", "lake.png", "In oil", "--source-weight", "0.5", "--json")
    content = json.loads(other.out)
    assert content["parameters"]["source_url"].startswith("data:image/png;base64,... (")
    assert len(other.out) < 1000
    assert (content["width"], content["height"]) == (1024, 1024)
    assert content["price"] == {"amount": "0.02", "currency": "USD"}


def test_account(cli: Run) -> None:
    assert cli("account") == (0, "type:    prepaid\nbalance: 100\ncash:    100\nvoucher: 0\n", "")
    content = json.loads(cli("account", "--json").out)
    assert content == {"type": "prepaid", "balance": 100.0, "cash": 100.0, "voucher": 0.0}


@pytest.mark.parametrize(
    ("arguments", "option"),
    [(["--fault", "999"], "--fault"), (["--fault", "delay"], "--fault"), (["--credit", "-1"], "--credit")],
)
def test_serve_checks_its_arguments_before_it_listens(cli: Run, arguments: list[str], option: str) -> None:
    ran = cli("serve", *arguments)
    assert ran.code == 2
    assert f"{option}: got" in ran.err
