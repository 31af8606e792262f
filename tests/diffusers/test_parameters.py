"""The API's parameters in terms of pipelines, by the signatures of made-up ones."""

from __future__ import annotations

from typing import Any

import pytest

from stepfun_async import Size
from stepfun_async.diffusers.parameters import (
    Signature,
    arguments,
    operations_of,
    row_of_pipeline,
    size_to_make,
)
from stepfun_async.embedded.backend import NotMadeError

SIZE = Size(width=512, height=512)


class Plain:
    """As Stable Diffusion."""

    def __call__(
        self,
        prompt: str,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str | None = None,
        num_images_per_prompt: int = 1,
        width: int | None = None,
        height: int | None = None,
        **kwargs: Any,
    ) -> None: ...


class True_:  # noqa: N801
    """As Qwen-Image."""

    def __call__(
        self,
        prompt: str,
        num_inference_steps: int = 50,
        guidance_scale: float | None = None,
        true_cfg_scale: float = 4.0,
        negative_prompt: str | None = None,
    ) -> None: ...


class Strong:
    """As any image to image pipeline."""

    def __call__(self, prompt: str, image: Any, strength: float = 0.8, num_inference_steps: int = 50) -> None: ...


class Edit:
    """As Qwen-Image-Edit and Flux Kontext."""

    def __call__(self, image: Any, prompt: str, guidance_scale: float = 3.5) -> None: ...


class Sound:
    def __call__(self, prompt: str, audio_length_in_s: float = 5.0) -> None: ...


class Mask:
    def __call__(self, prompt: str, image: Any = None, mask_image: Any = None, strength: float = 1.0) -> None: ...


class Unconditional:
    def __call__(self, batch_size: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("pipeline", "values", "said"),
    [
        (
            Plain,
            {"steps": 8, "cfg_scale": 3.5},
            {"num_inference_steps": 8, "guidance_scale": 3.5, "negative_prompt": None},
        ),
        (Plain, {"negative_prompt": "fog"}, {"negative_prompt": "fog"}),
        (True_, {"cfg_scale": 3.5}, {"true_cfg_scale": 3.5, "negative_prompt": " "}),
        (True_, {"cfg_scale": 3.5, "negative_prompt": "fog"}, {"true_cfg_scale": 3.5, "negative_prompt": "fog"}),
        (Strong, {"steps": 10, "source_weight": 0.3}, {"num_inference_steps": 10, "strength": 0.3}),
        (Edit, {"cfg_scale": 2.0}, {"guidance_scale": 2.0}),
    ],
)
def test_parameters_are_mapped_by_the_names_that_a_pipeline_has(
    pipeline: type, values: dict[str, Any], said: dict[str, Any]
) -> None:
    found = arguments(Signature.of(pipeline), {"prompt": "A lake", **values})
    more = {"num_images_per_prompt": 1} if pipeline is Plain else {}
    negative = {"negative_prompt": None} if pipeline is Plain else {}
    assert found == {"prompt": "A lake", **more, **negative, **said}


def test_distilled_guidance_takes_the_other_name_and_no_negative_prompt() -> None:
    flux = Signature.of(True_, distilled=True)
    assert arguments(flux, {"prompt": "A lake", "cfg_scale": 3.5}) == {"prompt": "A lake", "guidance_scale": 3.5}
    assert "negative_prompt" not in row_of_pipeline("flux", "text_to_image", flux, SIZE).rules


@pytest.mark.parametrize(("steps", "weight"), [(4, 0.2), (3, 0.333), (49, 0.0204)])
def test_a_weight_that_leaves_no_step_is_refused_and_the_one_named_is_not(steps: int, weight: float) -> None:
    signature = Signature.of(Strong)
    with pytest.raises(NotMadeError, match="less than one") as refused:
        arguments(signature, {"prompt": "x", "steps": steps, "source_weight": weight})
    named = float(str(refused.value).split("at least ")[1].split(",")[0])
    arguments(signature, {"prompt": "x", "steps": steps, "source_weight": named})


@pytest.mark.parametrize(
    ("pipeline", "operations"),
    [
        (Plain, ("text_to_image",)),
        (Strong, ("image_to_image",)),
        (Edit, ("edit",)),
    ],
)
def test_a_pipeline_is_for_what_its_signature_says(pipeline: type, operations: tuple[str, ...]) -> None:
    signature = Signature.of(pipeline)
    assert operations_of(signature, set()) == operations
    assert signature.unfit is None


def test_an_editing_pipeline_that_also_makes_images_from_text_is_for_both() -> None:
    assert operations_of(Signature.of(Edit), {"Edit"}) == ("text_to_image", "edit")


@pytest.mark.parametrize(
    ("pipeline", "does"), [(Sound, "makes sound"), (Mask, "needs a mask"), (Unconditional, "takes no prompt")]
)
def test_a_pipeline_for_something_else_says_what_it_does(pipeline: type, does: str) -> None:
    assert Signature.of(pipeline).unfit == does


def test_a_row_has_the_parameters_of_the_pipeline_with_its_defaults() -> None:
    row = row_of_pipeline("sd", "text_to_image", Signature.of(Plain), SIZE)
    defaults = {name: rule.default for name, rule in row.rules.items() if rule.default is not None}
    assert defaults == {
        "size": "512x512",
        "n": 1,
        "response_format": "url",
        "steps": 50,
        "cfg_scale": 7.5,
        "negative_prompt": "",
    }
    assert "text_mode" not in row.rules
    assert list(row_of_pipeline("e", "edit", Signature.of(Edit), SIZE).rules)[:2] == ["image", "prompt"]


def test_a_ratio_means_a_size_of_the_area_that_the_model_was_made_for() -> None:
    rule = row_of_pipeline("sd", "text_to_image", Signature.of(Plain), SIZE).rules["size"]
    assert rule.to_wire("16:9") == "688x384"


@pytest.mark.parametrize(
    ("asked", "made"), [((512, 512), (512, 512)), ((100, 130), (112, 144)), ((1360, 768), (1360, 768))]
)
def test_what_is_made_is_never_smaller_than_what_was_asked_for(asked: tuple[int, int], made: tuple[int, int]) -> None:
    size = size_to_make(Size(width=asked[0], height=asked[1]))
    assert (size.width, size.height) == made
