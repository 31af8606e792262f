"""The public types, checked from outside by mypy and pyright; and the signatures against the tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

import stepfun_async
from stepfun_async import capabilities
from stepfun_async._core import params as signatures
from stepfun_async._core.capabilities import BUILT_IN, Operation

HERE = Path(__file__).parent / "typing"
SOURCE = Path(stepfun_async.__file__).parent.parent
IGNORE = re.compile(r"  # type: ignore\[[\w, -]+\]$")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files as a user would have them, without the comments that let the bad one pass."""
    folder = tmp_path_factory.mktemp("typing")
    for path in HERE.glob("api_*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        (folder / path.name).write_text("\n".join(IGNORE.sub("", line) for line in lines) + "\n", encoding="utf-8")
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["."],
        "extraPaths": [str(SOURCE)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _wanted() -> dict[str, set[int]]:
    return {
        path.name: {
            number
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if IGNORE.search(line)
        }
        for path in HERE.glob("api_*.py")
    }


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _found(lines: list[tuple[str, int]]) -> dict[str, set[int]]:
    return {name: {line for where, line in lines if where == name} for name in _wanted()}


def test_the_files_say_something() -> None:
    wanted = _wanted()
    assert wanted["api_ok.py"] == set()
    assert len(wanted["api_bad.py"]) > 40


def test_mypy_finds_exactly_the_bad_calls(project: Path, pytestconfig: pytest.Config) -> None:
    kept = getattr(pytestconfig, "cache", None)
    cache = kept.mkdir("mypy") if kept else project / "cache"
    shown = _run(project, "mypy", "--strict", "--cache-dir", str(cache), "api_ok.py", "api_bad.py")
    errors = re.findall(r"^(api_\w+\.py):(\d+): error:", shown, re.MULTILINE)
    assert _found([(name, int(line)) for name, line in errors]) == _wanted(), shown


def test_pyright_finds_exactly_the_bad_calls(project: Path) -> None:
    shown = _run(project, "pyright", "--outputjson", "--project", ".", "--pythonpath", sys.executable)
    report = json.loads(shown[shown.index("{") :])
    errors = [
        (Path(item["file"]).name, item["range"]["start"]["line"] + 1)
        for item in report["generalDiagnostics"]
        if item["severity"] == "error"
    ]
    assert _found(errors) == _wanted(), json.dumps(report["generalDiagnostics"], indent=1)


# --- signatures against the tables ---------------------------------------------------------------------------

SIGNATURES: dict[tuple[str, Operation], Any] = {
    ("step-image-edit-2", "text_to_image"): signatures.Edit2Generate,
    ("step-2x-large", "text_to_image"): signatures.LargeGenerate,
    ("step-1x-medium", "text_to_image"): signatures.MediumGenerate,
    ("step-image-edit-2", "edit"): signatures.Edit2Edit,
    ("step-1x-edit", "edit"): signatures.Edit1xEdit,
    ("step-2x-large", "image_to_image"): signatures.StepImageToImage,
    ("step-1x-medium", "image_to_image"): signatures.StepImageToImage,
}
OWN_ARGUMENTS = {"prompt", "image", "source_weight"}
CALL_OPTIONS = {"save_to", "overwrite", "timeout", "queue_timeout", "extra_body", "extra_headers"}


def _literals(hint: Any) -> set[object]:
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return {value for part in get_args(hint) for value in _literals(part)}


def test_every_row_has_a_signature() -> None:
    assert set(SIGNATURES) == {(row.model, row.operation) for row in BUILT_IN}


@pytest.mark.parametrize(("model", "operation"), SIGNATURES)
def test_a_signature_has_exactly_the_parameters_of_its_row(model: str, operation: Operation) -> None:
    rules = capabilities(model, operation).rules
    parameters = {name for name, rule in rules.items() if rule.kind != "ignored"} - OWN_ARGUMENTS
    assert set(get_type_hints(SIGNATURES[model, operation])) == parameters | CALL_OPTIONS


@pytest.mark.parametrize(("model", "operation"), [key for key in SIGNATURES if capabilities(*key).sizes is not None])
def test_the_sizes_of_a_signature_are_exactly_those_of_its_row(model: str, operation: Operation) -> None:
    sizes = capabilities(model, operation).sizes
    assert sizes is not None
    hint = get_type_hints(SIGNATURES[model, operation])["size"]
    assert _literals(hint) == {*sizes.wire_options, *sizes.ratios}
    assert stepfun_async.Size in get_args(hint)


@pytest.mark.parametrize(("model", "operation"), SIGNATURES)
def test_the_choices_of_a_signature_are_those_of_its_row(model: str, operation: Operation) -> None:
    hints = get_type_hints(SIGNATURES[model, operation])
    rules: Any = capabilities(model, operation).rules
    assert _literals(hints["response_format"]) or get_args(hints["response_format"])
    assert {*get_args(hints["response_format"])} == {*rules["response_format"].options}
    if "n" in rules:
        assert _literals(hints["n"]) == {rules["n"].maximum}


def test_custom_models_take_every_parameter_of_their_operation() -> None:
    custom: dict[Operation, Any] = {
        "text_to_image": signatures.CustomGenerate,
        "edit": signatures.CustomEdit,
        "image_to_image": signatures.CustomImageToImage,
    }
    for operation, signature in custom.items():
        rules = {name for row in BUILT_IN if row.operation == operation for name in row.rules}
        assert set(get_type_hints(signature)) >= (rules - OWN_ARGUMENTS) | CALL_OPTIONS
