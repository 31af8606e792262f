"""Tiny models, written once in a session, and engines that run them; they need the group `diffusers`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepfun_async.diffusers import DiffusersEngine


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny models `tiny-sd`, `tiny-qwen` and `tiny-kontext`."""
    torch = pytest.importorskip("torch", reason="local models need the group `diffusers`: make diffusers")
    torch.set_num_threads(1)  # for models as small as these, more threads wait for each other
    from .tiny import save_flux_kontext, save_qwen_image, save_stable_diffusion

    folder = tmp_path_factory.mktemp("models")
    save_stable_diffusion(folder / "tiny-sd")
    save_qwen_image(folder / "tiny-qwen")
    save_flux_kontext(folder / "tiny-kontext")
    return folder


@pytest.fixture(scope="module", params=["tiny-sd", "tiny-qwen"])
def engine(request: pytest.FixtureRequest, models: Path) -> Iterator[DiffusersEngine]:
    """An engine of each shape in use."""
    with DiffusersEngine(models / request.param, "cpu") as engine:
        yield engine


@pytest.fixture
def small(models: Path) -> Iterator[DiffusersEngine]:
    """An engine of a test's own, in use."""
    with DiffusersEngine(models / "tiny-sd", "cpu", queue=0) as engine:
        yield engine
