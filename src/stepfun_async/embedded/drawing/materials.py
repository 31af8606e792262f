"""The colours of materials, which several kinds of figures share."""

from __future__ import annotations

from .palettes import RGB

CREAM: RGB = (252, 240, 220)
GOLD: RGB = (234, 180, 64)
GREEN: RGB = (64, 142, 76)
LAMP: RGB = (255, 226, 150)
RED: RGB = (206, 60, 52)
STEEL: RGB = (168, 178, 190)
WOOD: RGB = (112, 72, 44)
