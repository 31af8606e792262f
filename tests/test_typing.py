"""The public types, checked from outside by mypy and pyright; and the signatures against the tables."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import stepfun_async
from stepfun_async._client.images import AsyncImages
from stepfun_async._core import params
from stepfun_async._core.capabilities import BUILT_IN, Capability, Operation

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
    assert len(wanted["api_bad.py"]) > 25


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

METHODS: dict[Operation, tuple[Any, Any, Any]] = {
    "text_to_image": (AsyncImages.generate, params.GenerateModel, params.GenerateSize),
    "edit": (AsyncImages.edit, params.EditModel, params.EditSize),
    "image_to_image": (AsyncImages.image_to_image, params.ImageToImageModel, params.ImageToImageSize),
}
CALL_OPTIONS = {"save_to", "overwrite", "timeout", "queue_timeout", "extra_body", "extra_headers"}


def _literals(hint: Any) -> set[object]:
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return {value for part in get_args(hint) for value in _literals(part)}


def _rows(operation: Operation) -> list[Capability]:
    return [row for row in BUILT_IN if row.operation == operation]


@pytest.mark.parametrize("operation", METHODS)
def test_a_signature_has_exactly_the_parameters_of_its_rows(operation: Operation) -> None:
    method, models, _ = METHODS[operation]
    parameters = {name for row in _rows(operation) for name in row.rules} | {"n"}  # which other servers take of edits
    assert set(inspect.signature(method).parameters) == parameters | CALL_OPTIONS | {"self", "model"}
    assert _literals(models) == {row.model for row in _rows(operation)}


@pytest.mark.parametrize("operation", METHODS)
def test_the_sizes_of_a_signature_are_exactly_those_of_its_rows(operation: Operation) -> None:
    sizes = METHODS[operation][2]
    rules = [row.sizes for row in _rows(operation) if row.sizes is not None]
    assert _literals(sizes) == {size for rule in rules for size in (*rule.wire_options, *rule.ratios)}
    assert stepfun_async.Size in get_args(sizes)


@pytest.mark.parametrize("operation", METHODS)
@pytest.mark.parametrize("name", ["steps", "cfg_scale", "prompt", "source_weight", "seed"])
def test_the_documentation_of_a_parameter_has_the_range_of_its_rule(operation: Operation, name: str) -> None:
    """What editors show beside a parameter is what is allowed."""
    rules: list[Any] = [row.rules[name] for row in _rows(operation) if name in row.rules]
    found = re.search(rf"^    {name}: (.*(?:\n     .*)*)", str(inspect.getdoc(METHODS[operation][0])), re.MULTILINE)
    for rule in rules:
        assert found is not None
        assert re.search(rf"\b{rule.maximum}\b", found[1]), rule.allowed
