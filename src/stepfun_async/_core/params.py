"""The models and sizes of each operation, for type checkers.

A test holds them against the tables. What depends on the model is judged by its row when the request is made: type
checkers answer a wrong call with one line, while an overload for each model took twenty.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

from .capabilities import CustomModel
from .requests import ImageSource
from .sizes import CustomSize, Size

GenerateModel: TypeAlias = Literal["step-image-edit-2", "step-2x-large", "step-1x-medium"] | CustomModel
EditModel: TypeAlias = Literal["step-image-edit-2", "step-1x-edit"] | CustomModel
ImageToImageModel: TypeAlias = Literal["step-2x-large", "step-1x-medium"] | CustomModel

GenerateSize: TypeAlias = (
    Size
    | CustomSize
    | Literal[
        "1:1",
        "16:9",
        "9:16",
        "4:3",
        "3:4",
        "16:10",
        "10:16",
        "256x256",
        "512x512",
        "768x768",
        "1024x1024",
        "768x1360",
        "896x1184",
        "1360x768",
        "1184x896",
        "1280x800",
        "800x1280",
    ]
)
"""Ratios are width to height. Wire strings are HEIGHT x WIDTH for step-image-edit-2, WIDTH x HEIGHT for the others."""

EditSize: TypeAlias = Size | CustomSize | Literal["1:1", "512x512", "768x768", "1024x1024"]

ImageToImageSize: TypeAlias = (
    Size
    | CustomSize
    | Literal["1:1", "16:10", "10:16", "256x256", "512x512", "768x768", "1024x1024", "1280x800", "800x1280"]
)
"""Ratios and wire strings are WIDTH x HEIGHT."""


class StyleReference(TypedDict, total=False):
    """The image whose style to take, and how strongly: above 0 to 2, larger is closer."""

    source_url: ImageSource
    weight: float


class Nothing(TypedDict):
    """No keywords: the type of what collects, at run time, those that a method does not have."""
