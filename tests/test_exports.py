"""Every public name is at the top, once, under its public name, and importing the package costs next to nothing."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import stepfun_async
from stepfun_async._core import errors

TREE = ast.parse(Path(stepfun_async.__file__).read_text(encoding="utf-8"))


def _in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_is_sorted_and_has_each_name_once() -> None:
    assert stepfun_async.__all__ == sorted(set(stepfun_async.__all__))


def test_type_checkers_see_the_same_names() -> None:
    imported = [
        alias.asname or alias.name
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if alias.asname
    ]
    assert sorted(imported) == stepfun_async.__all__


def test_every_error_that_is_raised_is_public() -> None:
    named = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.StepFunError | Warning)
    }
    assert named <= set(stepfun_async.__all__)


@pytest.mark.parametrize("name", stepfun_async.__all__)
def test_every_public_name_is_there_under_its_public_name(name: str) -> None:
    value = getattr(stepfun_async, name)
    assert value.__name__ == name
    assert value.__module__ == "stepfun_async"
    if isinstance(value, type):
        assert value.__doc__
        assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize("name", stepfun_async.__all__)
def test_every_public_name_is_the_one_of_its_module(name: str) -> None:
    home = stepfun_async._HOME_OF[name]
    assert getattr(sys.modules[f"stepfun_async.{home}"], name) is getattr(stepfun_async, name)


def test_star_import_brings_all() -> None:
    assert _in_fresh_process(
        "from stepfun_async import *\nimport stepfun_async\nprint(set(stepfun_async.__all__) - set(globals()))"
    ) == str(set())


def test_dir_has_all_before_anything_is_loaded() -> None:
    found = _in_fresh_process("import stepfun_async; print(set(stepfun_async.__all__) - set(dir(stepfun_async)))")
    assert found == str(set())
    assert "__version__" in dir(stepfun_async) or stepfun_async.__version__


def test_an_unknown_name_is_an_attribute_error_of_this_module() -> None:
    with pytest.raises(AttributeError, match="module 'stepfun_async' has no attribute 'AsyncClinet'"):
        _ = stepfun_async.AsyncClinet  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from stepfun_async import AsyncClinet")


def test_importing_the_package_loads_none_of_its_libraries() -> None:
    heavy = ("httpx", "pydantic", "anyio", "asyncio", "PIL", "stepfun_async._core")
    loaded = _in_fresh_process(f"import sys, stepfun_async; print([n for n in {heavy!r} if n in sys.modules])")
    assert loaded == "[]"


def test_the_errors_alone_load_no_http_library() -> None:
    heavy = ("httpx", "pydantic", "anyio", "asyncio")
    code = f"import sys; from stepfun_async import StepFunError; print([n for n in {heavy!r} if n in sys.modules])"
    assert _in_fresh_process(code) == "[]"


def test_a_traceback_shows_the_public_name() -> None:
    code = "import stepfun_async\ntry: stepfun_async.capabilities('x')\nexcept Exception as e: print(type(e))"
    assert _in_fresh_process(code) == "<class 'stepfun_async.ConfigurationError'>"


def test_the_version_is_that_of_the_package_installed() -> None:
    assert stepfun_async.__version__ == importlib.metadata.version("stepfun-async")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", importlib.metadata.version("stepfun-async"))


def test_the_root_of_the_package_fits_on_a_page() -> None:
    """New modules go into a room; a module at the root is a room of its own, or what users import or run by name."""
    root = Path(stepfun_async.__file__).parent
    entries = sorted(
        path.name for path in root.iterdir() if path.name not in ("__main__.py", "__pycache__", "py.typed")
    )
    assert len(entries) <= 16, entries


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(stepfun_async.__file__).parent / "py.typed").is_file()


HOLDING_REQUESTS = ("CallStarted", "Failed", "Finished")
"""Values whose annotations would load pydantic with them."""

VALUES = [
    value
    for name in stepfun_async.__all__
    if dataclasses.is_dataclass(value := getattr(stepfun_async, name)) and name not in HOLDING_REQUESTS
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_the_types_of_values_can_be_read_by_other_libraries(value: type) -> None:
    """Although the classes say that they live at the top, where the names of their annotations are not."""
    assert set(get_type_hints(value)) >= {field.name for field in dataclasses.fields(value)}
