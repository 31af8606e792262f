"""A model of diffusers as an engine's backend: loaded once, one image at a time, freed at the end."""

from __future__ import annotations

import gc
import io
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from stepfun_async._core.capabilities import Capability, Operation
from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.input_images import InputImage
from stepfun_async._core.registry import refuse_built_in
from stepfun_async._core.rendering import as_seen, on_white
from stepfun_async._core.size_rules import AnySize
from stepfun_async._core.sizes import Size
from stepfun_async._core.text import escaped, reason
from stepfun_async._runtime.log import log
from stepfun_async.embedded.backend import NotMadeError, Stop, Work, undecodable

from .folder import ModelFolder, read_folder
from .line import Line, stopped
from .memory import free_bytes, gigabytes, is_out_of_memory
from .parameters import Signature, arguments, operations_of, row_of_pipeline, sides, size_of_result, size_to_make

Device = Literal["auto", "cpu", "cuda"]

_MOST_PIXELS = 4096 * 4096
"""Pixels of the largest image that is decoded."""

_FORKS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("Step1XEditPipeline", "Step1XEditPipelineV1P2"), "Step1X-Edit")
)
"""Pipelines that only forks of diffusers have, and their models. Source: model cards of Step1X-Edit v1p1 and v1p2."""

_BUILD = (
    "in the build for this machine: pip install {} --index-url https://download.pytorch.org/whl/cpu (without a GPU), "
    "or as https://pytorch.org/get-started/locally says"
)
_TORCH = f"a local model needs PyTorch, {_BUILD.format('torch')}"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the current image.

    Attributes:
        model: the model's name.
        operation: what it makes.
        step: the steps done.
        steps: all steps.
        waiting: how many callers wait behind it.
        over: whether it is finished, or was given up.
    """

    model: str
    operation: Operation
    step: int
    steps: int
    waiting: int
    over: bool = False


OnProgress = Callable[[Progress], object]


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """A loaded pipeline for one operation."""

    call: Any
    signature: Signature
    row: Capability


class Pipelines:
    """The pipelines of one model, which share its weights. Blocks while the model is loaded.

    Args:
        folder: the model's folder.
        device: where it runs.
        name: its name in the API; by default that of the folder.
        queue: how many callers may wait for it.
        on_progress: called after each step, in the thread that makes the image.

    Raises:
        ConfigurationError: the model cannot be loaded; the message says what to do.
    """

    quick = False
    stops = True
    owner = "diffusers"

    def __init__(
        self, folder: Path, device: Device, name: str | None, queue: int, on_progress: OnProgress | None
    ) -> None:
        check_installed()
        model = read_folder(folder)
        self.name = name or Path(os.path.abspath(folder)).name
        refuse_built_in(self.name)
        self.on_progress = on_progress
        self._torch = import_module("torch")
        self._device = _device(self._torch, device)
        with _without_warnings():  # of parts of transformers that most pipelines do not need
            self._diffusers = import_module("diffusers")
            cls = _pipeline_class(self._diffusers, model)
            self._auto = import_module("diffusers.pipelines.auto_pipeline")
            _check_processors(model)
        dtype = _dtype(self._torch, self._device)
        _check_memory(self._torch, model, self._device, dtype)
        self._line = Line(queue)
        self._closing = Stop()
        self._pipelines = {each.row.operation: each for each in self._loaded(model, cls, dtype)}
        runs = f"{cls.__name__} of diffusers {self._diffusers.__version__} on the {self._device}"
        self.purpose = f"a local model, {escaped(self.name)}: {runs}"

    def rows(self) -> Iterable[Capability]:
        return [pipeline.row for pipeline in self._pipelines.values()]

    def close(self) -> None:
        """Stop the current image at its step, and free the memory of the model."""
        self._closing.set()
        with self._line.turn(Stop(), bounded=False):
            self._pipelines = {}
            gc.collect()  # pipelines refer to themselves
            if self._device == "cuda":
                self._torch.cuda.empty_cache()

    # --- loading

    def _loaded(self, model: ModelFolder, cls: type, dtype: Any) -> Iterator[_Pipeline]:
        shown = escaped(str(model.path))
        try:
            with _without_progress_bars():
                pipe = self._diffusers.DiffusionPipeline.from_pretrained(
                    str(model.path),
                    local_files_only=True,
                    dtype=dtype,
                    low_cpu_mem_usage=find_spec("accelerate") is not None,
                    **({"variant": model.variant} if model.variant else {}),
                ).to(self._device)
        except Exception as error:
            if is_out_of_memory(error):
                raise ConfigurationError(f"{shown} does not fit into the memory of the {self._device}") from error
            raise ConfigurationError(f"{shown} cannot be loaded: {reason(error)}") from error
        text = {each.__name__ for each in self._auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()}
        operations = operations_of(_signature(pipe), text)
        yield from (self._pipeline(pipe, operation) for operation in operations)
        if operations in _OTHERS:
            other, tasks = _OTHERS[operations]
            with _without_progress_bars():
                more = _from_pipe(getattr(self._auto, tasks), pipe)
            if more is not None and operations_of(_signature(more), text) == (other,):
                yield self._pipeline(more, other)

    def _pipeline(self, pipe: Any, operation: Operation) -> _Pipeline:
        pipe.set_progress_bar_config(disable=True)
        signature = _signature(pipe)
        return _Pipeline(pipe, signature, row_of_pipeline(self.name, operation, signature, _made_for(pipe)))

    # --- making

    def make(self, work: Work) -> bytes | None:
        with self._line.turn(work.stop):
            pipeline = self._pipelines.get(work.row.operation)
            if pipeline is None:
                raise NotMadeError("the engine is closed", status=503, kind="closed")
            with self._measured(work):
                image = self._made(pipeline, work)
        return None if image is None else self._png(image, work)

    @contextmanager
    def _measured(self, work: Work) -> Generator[None]:
        """Count the seconds of the block, and report its end."""
        began = time.monotonic()
        try:
            yield
            self._line.took(time.monotonic() - began)
        finally:
            work.seconds = time.monotonic() - began
            self._report(work, 0, 0, over=True)

    def _report(self, work: Work, step: int, steps: int, *, over: bool = False) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(self.name, work.row.operation, step, steps, self._line.waiting, over))

    def _made(self, pipeline: _Pipeline, work: Work) -> Any:
        said = arguments(pipeline.signature, work.values)
        source = _decoded(work.values.get("image"))
        asked = _asked_size(work, source)
        made = size_to_make(asked) if asked else None
        if made:
            said |= sides(pipeline.signature, made)
        if source is not None:
            fitted = work.row.operation == "image_to_image" and made is not None
            said["image"] = _fitted(source, cast("Size", made)) if fitted else source
        said["generator"] = self._torch.Generator("cpu").manual_seed(work.seed)
        if pipeline.signature.takes("callback_on_step_end"):
            said["callback_on_step_end"] = partial(self._after_step, work)
        image = _image_of(self._run(pipeline, said))
        return image if image is None or asked is None else _fitted(image, asked)

    def _run(self, pipeline: _Pipeline, said: Mapping[str, Any]) -> Any:
        try:
            return pipeline.call(**said)
        except NotMadeError:
            raise
        except Exception as error:
            if self._device == "cuda":
                self._torch.cuda.empty_cache()
            if is_out_of_memory(error):
                message = f"the memory of the {self._device} does not suffice: make a smaller image"
                raise NotMadeError(message, status=400, kind="out_of_memory") from error
            log(logging.ERROR, "%s failed", pipeline.signature.name, exc_info=error)
            message = f"{pipeline.signature.name} of diffusers failed: {reason(error)}"
            raise NotMadeError(message, status=500, kind="pipeline_failed") from error

    def _after_step(self, work: Work, pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if work.stop.is_set or self._closing.is_set:
            raise stopped()
        self._report(work, step + 1, int(getattr(pipe, "num_timesteps", 0)) or step + 1)
        return tensors

    def _png(self, image: Any, work: Work) -> bytes:
        png = import_module("PIL.PngImagePlugin")
        facts = png.PngInfo()
        said = {"prompt": work.values["prompt"], "seed": work.seed, "steps": work.values.get("steps")}
        for name, value in {"Software": f"diffusers {self._diffusers.__version__}", "model": self.name, **said}.items():
            if value is not None:
                facts.add_itxt(name, str(value))
        out = io.BytesIO()
        image.convert("RGB").save(out, "PNG", compress_level=1, pnginfo=facts)
        return out.getvalue()


_OTHERS: Mapping[tuple[Operation, ...], tuple[Operation, str]] = MappingProxyType(
    {
        ("text_to_image",): ("image_to_image", "AutoPipelineForImage2Image"),
        ("image_to_image",): ("text_to_image", "AutoPipelineForText2Image"),
    }
)
"""The operation that another pipeline with the same weights may have, and what makes that pipeline."""


def check_installed() -> None:
    """Check that torch, diffusers, transformers and Pillow are installed.

    Raises:
        ConfigurationError: one of them is missing; the message says how to install it.
    """
    missing = [name for name in ("diffusers", "transformers", "PIL") if find_spec(name) is None]
    if find_spec("torch") is None:
        more = ', and pip install "stepfun-async[diffusers]"' if missing else ""
        raise ConfigurationError(f"{_TORCH}{more}")
    if missing:
        raise ConfigurationError(f'a local model needs {", ".join(missing)}: pip install "stepfun-async[diffusers]"')


def _device(torch: Any, device: Device) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(f"device is 'auto', 'cpu' or 'cuda', not {device!r}")
    has_cuda = bool(torch.cuda.is_available())
    if device == "cuda" and not has_cuda:
        built = torch.version.cuda is not None
        why = "sees no GPU" if built else "is built without CUDA: https://pytorch.org/get-started/locally has others"
        raise ConfigurationError(f"device='cuda' is not possible, since torch {torch.__version__} {why}")
    return "cuda" if has_cuda and device != "cpu" else "cpu"


def _dtype(torch: Any, device: str) -> Any:
    """Return the type of weights: processors are slow with less than float32, or wrong."""
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _check_memory(torch: Any, model: ModelFolder, device: str, dtype: Any) -> None:
    needed, free = model.weight_bytes(int(dtype.itemsize)), free_bytes(torch, device)
    if free is not None and needed > free:
        raise ConfigurationError(
            f"{escaped(str(model.path))} needs {gigabytes(needed)} of memory for its weights, and the {device} has "
            f"{gigabytes(free)} free: free some, or choose a smaller model"
        )


def _pipeline_class(diffusers: Any, model: ModelFolder) -> type:
    """Return the class that loads a model.

    Raises:
        ConfigurationError: diffusers does not have it, or it does not make images from prompts.
    """
    shown, name, version = escaped(str(model.path)), model.pipeline, diffusers.__version__
    cls: object = getattr(diffusers, name, None) if name.isidentifier() and not name.startswith("_") else None
    if not isinstance(cls, type) or not issubclass(cls, diffusers.DiffusionPipeline):
        where = "a newer release may have it, or a fork that the model's page names"
        if name in _FORKS:
            where = f"{_FORKS[name]} needs its authors' fork of diffusers, which its model card says how to install"
        raise ConfigurationError(f"{shown} needs {escaped(name)}, which diffusers {version} does not have: {where}")
    if unfit := Signature.of(cls).unfit:
        raise ConfigurationError(f"{shown} is a {name}, which {unfit}: choose a model that makes images from prompts")
    return cls


def _check_processors(model: ModelFolder) -> None:
    """Check that torchvision is installed for a model whose text encoder also sees images, such as Qwen-Image-Edit.

    transformers reads videos with it alone, and loads the part for videos even where no video is sent.
    """
    if find_spec("torchvision") is not None:
        return
    found = [name for name in model.transformers if _reads_videos(name)]
    if found:
        raise ConfigurationError(
            f"{escaped(str(model.path))} has a {found[0]}, which needs torchvision, {_BUILD.format('torchvision')}"
        )


def _reads_videos(name: str) -> bool:
    cls: object = getattr(import_module("transformers"), name, None) if name.endswith("Processor") else None
    return isinstance(cls, type) and "video_processor" in signature(cls.__init__).parameters  # type: ignore[misc]


def _signature(pipe: Any) -> Signature:
    config = getattr(getattr(pipe, "transformer", None), "config", None)
    return Signature.of(pipe, distilled=bool(getattr(config, "guidance_embeds", False)))


def _from_pipe(tasks: Any, pipe: Any) -> Any:
    """Return the pipeline for another task with the same weights; `None` if there is none."""
    try:
        return tasks.from_pipe(pipe)
    except ValueError:
        return None


def _made_for(pipe: Any) -> Size:
    """Return the size that a model was trained for, or 1024x1024."""
    body = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    config = getattr(body, "config", None)
    units = getattr(pipe, "default_sample_size", None) or getattr(config, "sample_size", None)
    side = units * int(getattr(pipe, "vae_scale_factor", 8)) if isinstance(units, int) else 1024
    return Size(width=min(max(side, 64), 4096), height=min(max(side, 64), 4096))


def _asked_size(work: Work, source: Any) -> Size | None:
    rule, size = work.row.rules["size"], work.values.get("size")
    if not isinstance(rule, AnySize):
        return None
    if size is not None:
        return rule.pick(size)
    if source is None:
        return None
    return size_of_result(work.row.operation, rule, Size(width=source.width, height=source.height))


def _decoded(picture: object) -> Any:
    """Return an image that was sent, upright and without transparency; `None` for none."""
    if not isinstance(picture, InputImage):
        return None
    if picture.width * picture.height > _MOST_PIXELS:
        raise undecodable(ValueError(f"{picture.width}x{picture.height} pixels are more than the engine decodes"))
    pillow = import_module("PIL.Image")
    try:
        with pillow.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP")) as image:
            return on_white(as_seen(image))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise undecodable(error) from error


def _fitted(image: Any, size: Size) -> Any:
    """Return `image` in a size, scaled and cut at the edges where the ratio differs."""
    if image.size == (size.width, size.height):
        return image
    resampling = import_module("PIL.Image").Resampling.LANCZOS
    return import_module("PIL.ImageOps").fit(image, (size.width, size.height), resampling)


def _image_of(output: Any) -> Any:
    """Return the image of a pipeline's output; `None` if its safety checker withheld it."""
    flagged = getattr(output, "nsfw_content_detected", None)
    if flagged and flagged[0]:
        return None
    images = getattr(output, "images", None)
    if not images:
        raise NotMadeError("the pipeline returned no image", status=500, kind="pipeline_failed")
    return images[0]


@contextmanager
def _without_warnings() -> Generator[None]:
    """Keep transformers from logging warnings during the block."""
    logs = import_module("transformers.utils.logging")
    before = logs.get_verbosity()
    logs.set_verbosity_error()
    try:
        yield
    finally:
        logs.set_verbosity(before)


@contextmanager
def _without_progress_bars() -> Generator[None]:
    """Keep diffusers and transformers from drawing progress bars while they load."""
    logs = [import_module(f"{name}.utils.logging") for name in ("diffusers", "transformers")]
    shown = [each for each in logs if each.is_progress_bar_enabled()]
    for each in shown:
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each in shown:
            each.enable_progress_bar()
