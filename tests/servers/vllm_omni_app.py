"""`vllm serve --omni` on a port, with its engine replaced; each job that the engine gets is a line of JSON.

Run by `tests.servers` in an environment that has the wheels: python vllm_omni_app.py PORT FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from made_up import make_up  # type: ignore[import-not-found, unused-ignore]

make_up("llguidance", "model_hosting_container_standards", "torchaudio", "torchvision", "xgrammar")

_MODEL = "Qwen/Qwen-Image"
_FIELDS = ("seed", "num_inference_steps", "guidance_scale", "true_cfg_scale", "strength", "width", "height")


class _Engine:
    """What the application asks of an engine of one diffusion stage: each job is noted, and yields flat images.

    The prompt "Fail" raises what any fault of a pipeline raises, "Break" the engine's own error.
    """

    stage_configs = ({"stage_type": "diffusion"},)
    default_sampling_params_list: tuple[Any, ...] = ()
    model_config = renderer = input_processor = vllm_config = None
    errored = False
    is_running = True

    def __init__(self, jobs: Path) -> None:
        self._jobs = jobs

    async def get_vllm_config(self) -> None:
        """Have no language model."""

    def shutdown(self, **_: Any) -> None:
        """Hold nothing."""

    async def generate(
        self, prompt: Mapping[str, Any], sampling_params_list: list[Any], **_: Any
    ) -> AsyncIterator[SimpleNamespace]:
        from PIL import Image as pillow
        from vllm.v1.engine.exceptions import EngineGenerateError

        given = sampling_params_list[0]
        self._note(prompt, given)
        if prompt["prompt"] == "Fail":
            raise RuntimeError("out of memory")
        if prompt["prompt"] == "Break":
            raise EngineGenerateError("the stage broke")
        image = pillow.new("RGB", (given.width or 512, given.height or 512), "teal")
        yield SimpleNamespace(images=[image] * given.num_outputs_per_prompt)

    def _note(self, prompt: Mapping[str, Any], given: Any) -> None:
        job = {name: getattr(given, name) for name in _FIELDS}
        job |= {"n": given.num_outputs_per_prompt, "negative_prompt": prompt.get("negative_prompt")}
        job["images"] = [image.size for image in prompt.get("multi_modal_data", {}).get("image", ())]
        with self._jobs.open("a") as jobs:
            jobs.write(json.dumps(job) + "\n")


def main(port: str, folder: Path) -> None:
    """Serve until the process ends."""
    from vllm_omni.entrypoints.cli.main import main as command
    from vllm_omni.entrypoints.openai import api_server

    @asynccontextmanager
    async def build_async_omni(*_: Any, **__: Any) -> AsyncIterator[_Engine]:
        yield _Engine(folder / "jobs.jsonl")

    api_server.build_async_omni = build_async_omni
    address = ("--host", "127.0.0.1", "--port", port)
    sys.argv = ["vllm", "serve", _MODEL, "--omni", *address, "--served-model-name", _MODEL, "alias", "--api-key", "key"]
    command()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
