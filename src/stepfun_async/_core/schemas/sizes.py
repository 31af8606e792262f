"""Sizes in words, as the titles of schemas."""

from __future__ import annotations

from ..sizes import RATIOS, Size


def title_of(size: Size) -> str:
    """Describe a size.

    >>> title_of(Size(width=1360, height=768))
    'landscape 16:9, 1360 wide and 768 high'
    """
    ratio = next((ratio for ratio in RATIOS if size.fits_ratio(ratio)), "")
    return f"{_shape(size)}{ratio and f' {ratio}'}, {size.width} wide and {size.height} high"


def _shape(size: Size) -> str:
    if size.width == size.height:
        return "square"
    return "landscape" if size.width > size.height else "portrait"
