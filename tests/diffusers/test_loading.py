"""What cannot be loaded, and what is said of it; most of it before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import Client, ConfigurationError
from stepfun_async.diffusers import DiffusersEngine, pipelines


def test_a_client_without_a_model_says_how_to_give_it_one() -> None:
    with pytest.raises(ConfigurationError, match=r"with DiffusersEngine\(folder\)"):
        Client(base_url="diffusers")


def index(folder: Path, name: str, **parts: list[str]) -> Path:
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **parts}))
    return folder


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "Step1XEditPipeline",
            "Step1XEditPipeline, which diffusers .* Step1X-Edit needs its authors' fork of diffusers",
        ),
        ("NextPipeline", "NextPipeline, which diffusers .* does not have: a newer release"),
        ("AutoencoderKL", "AutoencoderKL, which diffusers .* does not have"),
        ("AudioLDM2Pipeline", "is a AudioLDM2Pipeline, which makes sound"),
        ("WanPipeline", "which makes videos"),
        ("DDPMPipeline", "takes no prompt"),
    ],
)
def test_a_model_of_another_kind_is_named_before_it_is_loaded(
    models: Path, tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        DiffusersEngine(index(tmp_path / "other", name), "cpu")


def test_too_little_memory_is_found_before_loading(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "free_bytes", lambda *_: 300_000)
    with pytest.raises(
        ConfigurationError, match=r"needs 0\.0 GB of memory for its weights, and the cpu has 0\.0 GB free"
    ):
        DiffusersEngine(models / "tiny-sd", "cpu")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"device": "tpu"}, "device is 'auto', 'cpu' or 'cuda'"),
        ({"device": "cuda"}, "device='cuda' is not possible, since torch"),
        ({"queue": -1}, "queue is the number"),
        ({"name": "step-2x-large"}, "built-in model"),
        ({"credit": -1}, "credit"),
    ],
)
def test_a_setting_that_cannot_be_is_named(models: Path, settings: dict[str, Any], says: str) -> None:
    if settings.get("device") == "cuda" and pytest.importorskip("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigurationError, match=says):
        DiffusersEngine(models / "tiny-sd", **{"device": "cpu", **settings})


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ({"torch"}, r"needs PyTorch.*download\.pytorch\.org/whl/cpu"),
        ({"diffusers"}, r'needs diffusers: pip install "stepfun-async\[diffusers\]"'),
        ({"torch", "diffusers", "transformers"}, r'PyTorch.*, and pip install "stepfun-async\[diffusers\]"'),
    ],
)
def test_missing_packages_are_named_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, missing: set[str], says: str
) -> None:
    monkeypatch.setattr(pipelines, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(ConfigurationError, match=says):
        DiffusersEngine("anything")


def test_a_model_that_sees_images_says_how_to_install_torchvision_before_it_is_loaded(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "find_spec", lambda name: None if name == "torchvision" else object())
    folder = index(tmp_path / "edit", "QwenImageEditPipeline", processor=["transformers", "Qwen2VLProcessor"])
    (folder / "processor").mkdir()
    with pytest.raises(ConfigurationError, match=r"has a Qwen2VLProcessor, which needs torchvision.*pip install"):
        DiffusersEngine(folder, "cpu")
