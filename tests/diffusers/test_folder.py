"""Folders of models, good and bad, read without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from stepfun_async import ConfigurationError
from stepfun_async.diffusers.folder import INDEX, read_folder

PARTS = ("unet", "vae", "scheduler")


def model(folder: Path, **weights: str) -> Path:
    """A folder with the files of a pipeline, and weight files as named, by part."""
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    index = {
        "_class_name": "APipeline",
        **{part: ["diffusers", "Part"] for part in PARTS},
        "safety_checker": [None, None],
    }
    (folder / INDEX).write_text(json.dumps(index))
    for part, names in weights.items():
        for name in names.split():
            (folder / part / name).write_bytes(safetensors({"w": ("F16", [10, 3]), "codes": ("U8", [7])}))
    return folder


def safetensors(tensors: dict[str, tuple[str, list[int]]]) -> bytes:
    sizes = {"F16": 2, "U8": 1}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + sizes[dtype] * eval("*".join(map(str, shape)))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def test_a_model_says_its_pipeline_and_how_much_memory_its_weights_need(tmp_path: Path) -> None:
    read = read_folder(
        model(tmp_path, unet="a-00001-of-2.safetensors a-00002-of-2.safetensors a.fp16.safetensors", vae="b.bin")
    )
    assert (read.pipeline, read.variant) == ("APipeline", None)
    (tmp_path / "vae/b.bin").write_bytes(b"a pickle" * 100)
    half = 10 * 3 * 2 + 7
    assert read.weight_bytes(2) == 2 * half + 800
    assert read.weight_bytes(4) == 2 * (half + 10 * 3 * 2) + 800


def test_a_model_with_nothing_but_its_second_weights_is_read_as_that_variant(tmp_path: Path) -> None:
    read = read_folder(model(tmp_path, unet="a.fp16.safetensors", vae="b.safetensors"))
    assert read.variant == "fp16"
    assert read.weight_bytes(2) == 2 * (10 * 3 * 2 + 7)


def no_folder(folder: Path) -> Path:
    return folder / "nothing"


def hub_name(folder: Path) -> Path:
    return Path("Qwen/Qwen-Image")


def one_file(folder: Path) -> Path:
    (folder / "sd.safetensors").touch()
    return folder / "sd.safetensors"


def text_model(folder: Path) -> Path:
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    return folder


def cache(folder: Path) -> Path:
    model(folder / "snapshots" / "abc")
    return folder


def above(folder: Path) -> Path:
    model(folder / "sd15")
    return folder


def adapter(folder: Path) -> Path:
    (folder / "pytorch_lora_weights.safetensors").touch()
    return folder


def broken_index(folder: Path) -> Path:
    (folder / INDEX).write_text("{")
    return folder


def nameless(folder: Path) -> Path:
    (folder / INDEX).write_text('{"_class_name": ["remote", "Code"]}')
    return folder


def incomplete(folder: Path) -> Path:
    (model(folder) / "vae").rmdir()
    return folder


def pointers(folder: Path) -> Path:
    (model(folder, unet="a.safetensors") / "unet/a.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\n"
    )
    return folder


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_folder, "there is no folder"),
        (hub_name, "hf download Qwen/Qwen-Image --local-dir Qwen-Image"),
        (one_file, "from_single_file"),
        (text_model, "LlamaForCausalLM, a model of transformers, which makes no images"),
        (cache, "the model is in .*snapshots/abc"),
        (above, "did you mean .*sd15?"),
        (adapter, "an adapter"),
        (broken_index, "cannot be read"),
        (nameless, 'names no pipeline of diffusers as `_class_name`, but \\["remote", "Code"\\]'),
        (incomplete, "it lacks vae: download it again"),
        (pointers, "git lfs pull"),
        (lambda folder: folder, "has no model_index.json"),
    ],
)
def test_a_folder_that_is_no_model_says_what_it_is_and_what_to_do(
    make: Callable[[Path], Path], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_folder(make(tmp_path))
