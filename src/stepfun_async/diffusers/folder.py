"""The metadata in a model's folder, read before anything is loaded."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stepfun_async._core.errors import ConfigurationError
from stepfun_async._core.text import escaped, reason

INDEX = "model_index.json"
"""The file that makes a folder a pipeline of diffusers."""

_ONE_FILE = (".safetensors", ".ckpt", ".gguf", ".pt", ".pth", ".bin")
_WEIGHTS = ("*.safetensors", "*.bin")
_VARIANT = re.compile(r"\.(fp16|bf16)[.-]")
"""The part of a weight file's name for a second set of weights, as in `model.fp16.safetensors`."""

_POINTER = b"version https://git-lfs"
_FLOATS = ("F64", "F32", "F16", "BF16")
_LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that the format of safetensors allows."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with a pipeline, in the format that `save_pretrained` writes.

    Attributes:
        path: the folder.
        pipeline: the name of the pipeline's class.
        variant: the second set of weights that it has in place of the usual one, such as `fp16`; `None` for the usual.
        transformers: the names of the classes of transformers that it is made of.
    """

    path: Path
    pipeline: str
    variant: str | None
    transformers: tuple[str, ...] = ()

    def weight_bytes(self, bytes_of_a_float: int) -> int:
        """Return the memory that the weights need when loaded, as far as their files say.

        Args:
            bytes_of_a_float: the size of a weight in memory: 4 for float32, 2 for bfloat16.
        """
        return sum(_loaded_bytes(file, bytes_of_a_float) for file in _weights(self.path, self.variant))


def read_folder(folder: Path) -> ModelFolder:
    """Read what kind of model `folder` has.

    Raises:
        ConfigurationError: it is not the folder of a pipeline of diffusers, or it is incomplete.
    """
    shown = escaped(str(folder))
    if not folder.is_dir():
        raise ConfigurationError(_why_no_folder(folder, shown))
    if not (folder / INDEX).is_file():
        raise ConfigurationError(
            f"{shown} has no {INDEX}, so it is not a model in the format of diffusers{_hint(folder)}"
        )
    index = _read_json(folder / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        given = escaped(json.dumps(pipeline))[:80]
        raise ConfigurationError(f"{shown}/{INDEX} names no pipeline of diffusers as `_class_name`, but {given}")
    _check_complete(folder, index)
    parts = (cast("list[object]", value) for value in index.values() if isinstance(value, list))
    classes = (part[1] for part in parts if part[:1] == ["transformers"] and len(part) > 1)
    return ModelFolder(folder, pipeline, _variant(folder), tuple(name for name in classes if isinstance(name, str)))


def _why_no_folder(folder: Path, shown: str) -> str:
    if folder.is_file() and folder.suffix in _ONE_FILE:
        return (
            f"{shown} is one file of weights, and the engine reads folders in the format of diffusers: convert it with "
            "PIPELINE.from_single_file(file).save_pretrained(folder)"
        )
    if folder.is_file():
        return f"{shown} is a file, not the folder of a model"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(folder)):
        return (
            f"there is no folder {shown}; if that is the name of a model on the Hugging Face Hub, download it first: "
            f"hf download {shown} --local-dir {folder.name}"
        )
    return f"there is no folder {shown}"


def _hint(folder: Path) -> str:
    """Describe a folder without an index, if its contents are known."""
    snapshots = sorted(folder.glob(f"snapshots/*/{INDEX}"))
    if snapshots:
        return f"; the model is in {escaped(str(snapshots[-1].parent))}"
    inside = sorted(folder.glob(f"*/{INDEX}"))
    if inside:
        return f"; did you mean {escaped(str(inside[0].parent))}?"
    if (folder / "adapter_config.json").is_file() or any(folder.glob("*lora*")):
        return ": it is an adapter (LoRA) for a model, not a model"
    config = folder / "config.json"
    kinds = _read_json(config).get("architectures") if config.is_file() else None
    if isinstance(kinds, list) and kinds:
        return (
            f": it is a {escaped(str(cast('list[object]', kinds)[0]))}, a model of transformers, which makes no images"
        )
    if any(folder.glob("*.safetensors")):
        return ": convert a single file of weights with PIPELINE.from_single_file(file).save_pretrained(folder)"
    return ""


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        content: object = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{escaped(str(file))} cannot be read: {reason(error)}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{escaped(str(file))} is not a JSON object")
    return cast("dict[str, Any]", content)


def _check_complete(folder: Path, index: Mapping[str, Any]) -> None:
    shown = escaped(str(folder))
    missing = [name for name in _parts(index) if not (folder / name).is_dir()]
    if missing:
        raise ConfigurationError(
            f"{shown} is incomplete, it lacks {', '.join(map(escaped, missing))}: download it again"
        )
    pointers = [file for file in _all_weights(folder) if _is_pointer(file)]
    if pointers:
        name = escaped(str(pointers[0].relative_to(folder)))
        raise ConfigurationError(
            f"{shown} has pointers of Git LFS in place of weights ({name}): run `git lfs pull` in it"
        )


def _parts(index: Mapping[str, Any]) -> Iterator[str]:
    """Return the parts of a pipeline that have a folder of their own."""
    for name, value in index.items():
        if isinstance(value, list) and len(pair := cast("list[object]", value)) == 2 and all(pair):
            yield name


def _all_weights(folder: Path) -> Iterable[Path]:
    return [file for pattern in _WEIGHTS for file in sorted(folder.glob(f"*/{pattern}"))]


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER


def _variant(folder: Path) -> str | None:
    """Return the variant that some part has and without which that part has no weights."""
    for part in sorted({file.parent for file in _all_weights(folder)}):
        marks = [_VARIANT.search(file.name) for pattern in _WEIGHTS for file in sorted(part.glob(pattern))]
        found = [mark[1] for mark in marks if mark]
        if found and len(found) == len(marks):
            return found[0]
    return None


def _weights(folder: Path, variant: str | None) -> Iterator[Path]:
    """Return the files that are loaded: one set for each part, preferring safetensors."""
    for part in sorted({file.parent for file in _all_weights(folder)}):
        sets = [[file for file in sorted(part.glob(pattern)) if _mark(file) == variant] for pattern in _WEIGHTS]
        plain = [[file for file in sorted(part.glob(pattern)) if _mark(file) is None] for pattern in _WEIGHTS]
        yield from next(filter(None, (*sets, *plain)), ())


def _mark(file: Path) -> str | None:
    found = _VARIANT.search(file.name)
    return found[1] if found else None


def _loaded_bytes(file: Path, bytes_of_a_float: int) -> int:
    try:
        return sum(_tensor_bytes(tensor, bytes_of_a_float) for tensor in _tensors(file))
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return file.stat().st_size  # the loader reports what is wrong with it


def _tensors(file: Path) -> Iterator[Mapping[str, Any]]:
    """Return the descriptions of a safetensors file's tensors, from its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > _LONGEST_HEADER:
            raise ValueError(length)
        header = json.loads(opened.read(length))
    yield from (tensor for name, tensor in header.items() if name != "__metadata__")


def _tensor_bytes(tensor: Mapping[str, Any], bytes_of_a_float: int) -> int:
    if tensor["dtype"] in _FLOATS:
        return int(math.prod(tensor["shape"])) * bytes_of_a_float
    start, end = tensor["data_offsets"]
    return int(end - start)
