"""SGLang's own HTTP application on a port, with its engine replaced; each job that the engine gets is a line of JSON.

Run by `tests.servers` in an environment that has the wheel: python sglang_app.py PORT FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from made_up import make_up  # type: ignore[import-not-found, unused-ignore]

make_up("addict", "cache_dit", "flashinfer", "gguf", "sentencepiece", "sgl_kernel", "torchvision", "triton", "tvm_ffi")

_MODEL = "Qwen/Qwen-Image"
_FIELDS = ("prompt", "seed", "num_inference_steps", "guidance_scale", "negative_prompt", "width", "height")
_PARTS = ("scheduler", "text_encoder", "tokenizer", "transformer", "vae")


def _model_folder(folder: Path) -> Path:
    """A folder in the shape of a model's, without weights."""
    model = folder / "model"
    for part in _PARTS:
        (model / part).mkdir(parents=True)
        (model / part / "config.json").write_text("{}")
    (model / "model_index.json").write_text('{"_class_name": "QwenImagePipeline", "_diffusers_version": "0.35.0"}')
    return model


@asynccontextmanager
async def _without_a_scheduler(app: Any) -> AsyncIterator[None]:
    yield


def main(port: int, folder: Path) -> None:
    """Serve until the process ends."""
    import torch

    torch.compile = lambda function=None, **_: function or (lambda given: given)
    import uvicorn
    from sglang.multimodal_gen.runtime import server_args
    from sglang.multimodal_gen.runtime.entrypoints import http_server
    from sglang.multimodal_gen.runtime.pipelines_core.schedule_batch import OutputBatch
    from sglang.multimodal_gen.runtime.scheduler_client import async_scheduler_client

    async def forward(batches: Any) -> Any:
        job = batches[0] if isinstance(batches, list) else batches
        with (folder / "jobs.jsonl").open("a") as jobs:
            jobs.write(json.dumps({name: getattr(job, name, None) for name in _FIELDS}) + "\n")
        return OutputBatch(output=torch.rand(job.num_outputs_per_prompt, 3, 1, job.height, job.width))

    settings = server_args.ServerArgs.from_kwargs(
        model_path=str(_model_folder(folder)), served_model_name=_MODEL, output_path=str(folder / "images")
    )
    server_args.set_global_server_args(settings)
    async_scheduler_client.forward = forward
    app = http_server.create_app(settings)
    app.router.lifespan_context = _without_a_scheduler
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
