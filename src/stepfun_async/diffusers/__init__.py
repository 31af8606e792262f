"""Local models behind StepFun's protocol: `DiffusersEngine`, with the extra `diffusers` and any build of torch.

`folder` reads what a model's folder says of itself, before anything is loaded; `memory` says what is free; `parameters`
maps the API's parameters to those of a pipeline; `pipelines` loads, runs and frees it, one image at a time, in the
order that `line` keeps; `engine` puts it behind the protocol of the embedded engine. May import `embedded`, `_core`
and `_runtime`; torch, diffusers and Pillow are imported when a model is loaded.
"""

from .engine import DiffusersEngine
from .pipelines import Progress

__all__ = ["DiffusersEngine", "Progress"]
