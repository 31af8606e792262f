"""What holds for the installed wheel: run by `make wheel` in a fresh environment, outside the checkout."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import stepfun_async
from stepfun_async.batch.report import ReportRow, ReportSummary, write_report
from stepfun_async.dask import run_on
from stepfun_async.otel import OpenTelemetry
from stepfun_async.redis import RedisBackend
from stepfun_async.testing import FakeStepFun


def check_plain() -> None:
    """The wheel alone: every name is there, and what needs an extra says which."""
    for name in stepfun_async.__all__:
        assert getattr(stepfun_async, name) is not None
    assert stepfun_async.TextToImage(prompt="a lake", size="16:9").problems() == ()
    assert stepfun_async.TextToImage.model_validate_json('{"prompt": "a lake"}').model == "step-image-edit-2"
    assert stepfun_async.batch_schema()["title"]
    try:
        stepfun_async.Client(base_url="embedded")
    except stepfun_async.ConfigurationError as error:
        assert 'pip install "stepfun-async[embedded]"' in str(error)
    else:
        raise AssertionError("the embedded engine works without Pillow?")
    try:
        OpenTelemetry()
    except stepfun_async.ConfigurationError as error:
        assert 'pip install "stepfun-async[otel]"' in str(error)
    else:
        raise AssertionError("OpenTelemetry() works without opentelemetry-api?")
    with FakeStepFun() as stepfun, stepfun_async.Client() as client:
        assert client.images.generate("a lake").image.width == 1024
    stepfun.assert_paid(images=1)
    (plugin,) = distribution("stepfun-async").entry_points.select(group="pytest11")
    assert plugin.name == plugin.value == "stepfun_async.pytest_plugin"
    (freezer,) = distribution("stepfun-async").entry_points.select(group="pyinstaller40")
    (folder,) = freezer.load()()
    assert freezer.name == "hook-dirs"
    assert Path(folder, "hook-stepfun_async.py").exists()
    try:
        RedisBackend("redis://127.0.0.1:6379/0", name="images")
    except stepfun_async.ConfigurationError as error:
        assert 'pip install "stepfun-async[redis]"' in str(error)
    else:
        raise AssertionError("RedisBackend() works without redis?")
    check_cluster()
    check_report()
    script = _command("--version")
    assert script.returncode == 3
    assert 'pip install "stepfun-async[cli]"' in script.stderr


def check_cluster() -> None:
    """What runs a batch on a cluster is there without Dask, which clusters bring."""
    try:
        run_on(None, stepfun_async.Batch([], out="never-made"))
    except stepfun_async.ConfigurationError as error:
        assert "a distributed.Client" in str(error)
    else:
        raise AssertionError("a batch runs on nothing?")


def check_report() -> None:
    """A report needs no extra, and what its page is made of is in the wheel."""
    with TemporaryDirectory() as folder:
        rows = [ReportRow(id="1", state="failed", prompt="a lake", error="RateLimitError")]
        page = write_report(Path(folder, "report.html"), rows, ReportSummary(title="lakes", made=0.0))
        assert "RateLimitError" in page.read_text(encoding="utf-8")


def check_all() -> None:
    """The wheel with its extras: an image, OpenTelemetry, shared limits, the command line and the MCP server."""
    OpenTelemetry()
    RedisBackend("redis://127.0.0.1:6379/0", name="images")
    with stepfun_async.Client(base_url="embedded") as client:
        image = client.images.generate("a lake", model="step-2x-large", size="256x256").image
    assert (image.format, image.width, image.height) == ("png", 256, 256)
    assert distribution("stepfun-async").version in _command("--version").stdout
    with TemporaryDirectory() as folder:
        assert "bill: 0 images" in _command("mcp", "--base-url", "embedded", "--out", folder).stderr


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("stepfun-async")
    return subprocess.run([script, *arguments], input="", capture_output=True, text=True, check=False)


if __name__ == "__main__":
    installed = Path(stepfun_async.__file__)
    assert "site-packages" in installed.parts, f"not the installed wheel: {installed}"
    assert (installed.parent / "py.typed").exists()
    {"plain": check_plain, "all": check_all}[sys.argv[1]]()
