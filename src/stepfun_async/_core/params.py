"""What each model takes, for type checkers.

One `TypedDict` for each row of the tables, so that a wrong size, a parameter that a model does not
have, or a misspelled one is found before the program runs. A test holds these against the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

from .requests import PictureInput, ResponseFormat
from .results import SaveTo
from .sizes import CustomSize, Size

Edit2Size: TypeAlias = (
    Size
    | CustomSize
    | Literal["1024x1024", "768x1360", "896x1184", "1360x768", "1184x896", "1:1", "16:9", "9:16", "4:3", "3:4"]
)
"""Wire strings are HEIGHT x WIDTH, ratios are width to height."""

StepSize: TypeAlias = (
    Size
    | CustomSize
    | Literal["256x256", "512x512", "768x768", "1024x1024", "1280x800", "800x1280", "1:1", "16:10", "10:16"]
)
"""Wire strings are WIDTH x HEIGHT."""

Edit1xSize: TypeAlias = Size | CustomSize | Literal["512x512", "768x768", "1024x1024", "1:1"]


class CallOptions(TypedDict, total=False):
    """How a call is made: the same for every model."""

    response_format: ResponseFormat
    seed: int | None
    steps: int | None
    cfg_scale: float | None
    save_to: SaveTo | None
    overwrite: bool
    timeout: float | None
    queue_timeout: float | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None


class Edit2Generate(CallOptions, total=False):
    size: Edit2Size | None
    n: Literal[1] | None
    negative_prompt: str | None
    text_mode: bool | None


class LargeGenerate(CallOptions, total=False):
    size: StepSize | None
    n: Literal[1] | None


class StyleReference(TypedDict, total=False):
    """The picture whose style to take, and how strongly: above 0 to 2, larger is closer."""

    source_url: PictureInput
    weight: float


class MediumGenerate(LargeGenerate, total=False):
    style_reference: StyleReference | None


class Edit2Edit(CallOptions, total=False):
    negative_prompt: str | None
    text_mode: bool | None


class Edit1xEdit(CallOptions, total=False):
    size: Edit1xSize | None


class StepImageToImage(CallOptions, total=False):
    size: StepSize | None
    n: Literal[1] | None


class CustomGenerate(CallOptions, total=False):
    size: Size | str | None
    n: int | None
    negative_prompt: str | None
    text_mode: bool | None
    style_reference: StyleReference | None


class CustomEdit(CallOptions, total=False):
    size: Size | str | None
    n: int | None
    negative_prompt: str | None
    text_mode: bool | None


class CustomImageToImage(CallOptions, total=False):
    size: Size | str | None
    n: int | None
