"""The pytest plugin, in suites of its users."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from stepfun_async import pytest_plugin, testing
from tests.support.suites import PLUGIN, outcomes, run_suite, write_suite

ROOT = Path(__file__).parents[2]

CODE = """
from functools import cache
from stepfun_async import AsyncClient, Client

@cache
def shared():
    return Client()

def lakes(count):
    return [shared().images.generate(f"lake {number}") for number in range(count)]

async def lake():
    async with AsyncClient() as client:
        return await client.images.generate("a lake")
"""


def passes(folder: Path, *options: str, expected: int, **environment: str) -> None:
    done = run_suite(folder, *options, **environment)
    assert outcomes(done) == {"passed": expected}, done.stdout + done.stderr


def test_the_fixtures_answer_code_that_knows_nothing_of_them(tmp_path: Path) -> None:
    tests = """
import os
import subprocess
import sys
import anyio
import pytest
from stepfun_async import APITimeoutError
from code_under_test import lake, lakes

@pytest.mark.parametrize("count", [1, 3])
def test_each_test_has_a_bill_of_its_own(stepfun, count):
    lakes(count)
    stepfun.assert_paid(images=count)

@pytest.mark.anyio
async def test_async_code(stepfun, anyio_backend):
    await lake()
    assert [call.prompt for call in stepfun.calls] == ["a lake"]

def test_the_server_and_the_fake_are_one(stepfun, stepfun_server):
    stepfun.fail("429*1")
    assert anyio.run(lake).attempts == 2
    assert os.environ["STEP_BASE_URL"] == stepfun_server.url
    assert stepfun_server.calls == stepfun.calls
    stepfun_server.assert_paid(images=1)

def test_sync_code_in_virtual_time(stepfun, stepfun_virtual_time):
    from stepfun_async import Client
    stepfun.fail("hang")
    with Client(timeout=86_400) as client, pytest.raises(APITimeoutError):
        client.images.generate("a lake")

def test_nothing_of_it_is_left():
    from stepfun_async.embedded import in_use
    assert in_use() is None
    assert "STEP_BASE_URL" not in os.environ
    assert os.environ["STEP_API_KEY"] == "sk-real"
"""
    write_suite(tmp_path, {"code_under_test.py": CODE, "test_it.py": tests})

    passes(tmp_path, expected=7, STEP_API_KEY="sk-real")


def test_a_fixture_of_the_users_own_goes_before(tmp_path: Path) -> None:
    conftest = """
import pytest
from stepfun_async.embedded import Engine
from stepfun_async.testing import FakeStepFun

@pytest.fixture
def stepfun():
    with FakeStepFun(Engine(plain=True, credit=0.0)) as fake:
        yield fake
"""
    tests = """
import pytest
from stepfun_async import Client, InsufficientBalanceError

def test_the_server_has_the_same_engine(stepfun, stepfun_server):
    with Client() as client, pytest.raises(InsufficientBalanceError):
        client.images.generate("a lake")
    assert [call.status for call in stepfun.calls] == [402]
"""
    write_suite(tmp_path, {"conftest.py": conftest, "test_it.py": tests})

    passes(tmp_path, expected=1)


def test_a_failed_assertion_points_at_the_tests_own_line(tmp_path: Path) -> None:
    tests = """
from code_under_test import lakes

def test_it(stepfun):
    lakes(2)
    stepfun.assert_paid(images=3)
"""
    write_suite(tmp_path, {"code_under_test.py": CODE, "test_it.py": tests})

    done = run_suite(tmp_path)

    assert outcomes(done) == {"failed": 1}
    assert ">       stepfun.assert_paid(images=3)" in done.stdout
    assert "E       AssertionError: 2 images paid for (0.006 USD), not 3; 2 calls arrived:" in done.stdout
    assert "raise AssertionError" not in done.stdout


def test_it_may_be_asked_for_in_every_way_at_once(tmp_path: Path) -> None:
    """As an installed package does, whose modules pytest then rewrites, with `-p`, and in a conftest."""
    files = {
        "site/installed-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n",
        "site/installed-1.0.dist-info/RECORD": "stepfun_async/__init__.py,,\nstepfun_async/pytest_plugin.py,,\n",
        "site/installed-1.0.dist-info/entry_points.txt": f"[pytest11]\n{PLUGIN} = {PLUGIN}\n",
        "suite/conftest.py": f"pytest_plugins = [{PLUGIN!r}]\n",
        "suite/code_under_test.py": CODE,
        "suite/test_it.py": "from code_under_test import lakes\ndef test_it(stepfun):\n    lakes(1)\n",
    }
    write_suite(tmp_path, files)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])

    passes(tmp_path / "suite", expected=1, PYTHONPATH=path)


def test_it_loads_nothing_before_a_fixture_is_used() -> None:
    code = f"""
import sys, pytest
before = set(sys.modules)
import {PLUGIN}
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["stepfun_async", PLUGIN])


def test_a_suite_that_does_not_use_it_is_left_alone(tmp_path: Path) -> None:
    tests = """
import os
import sys

def test_it():
    assert os.environ["STEP_API_KEY"] == "sk-real"
    assert "stepfun_async.testing" not in sys.modules
    assert "stepfun_async.embedded" not in sys.modules
"""
    write_suite(tmp_path, {"test_it.py": tests})

    passes(tmp_path, expected=1, STEP_API_KEY="sk-real")


def test_the_package_brings_it_under_its_modules_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


def test_the_page_has_every_fixture_and_public_name() -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    fixtures = [name for name in vars(pytest_plugin) if name.startswith("stepfun")]

    assert len(fixtures) == 3
    assert [name for name in (*fixtures, *testing.__all__) if name not in page] == []
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
