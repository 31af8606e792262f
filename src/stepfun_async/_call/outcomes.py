"""The outcomes of many requests: what `images.map` yields for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .._core.results import ImagesResponse

if TYPE_CHECKING:
    from .._core.requests import ImageRequest


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that succeeded."""

    request: ImageRequest
    response: ImagesResponse


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that failed, and how."""

    request: ImageRequest
    error: Exception


Outcome: TypeAlias = Finished | Failed
