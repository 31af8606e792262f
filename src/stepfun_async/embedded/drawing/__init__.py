"""The images that the embedded engine draws.

`landscape` draws scenes with Pillow, from `scenes`, `scenery`, `subjects`, `palettes`, `lettering` and `canvas`;
`plain` draws two colours without Pillow; `frame` is the specification of an image before it is drawn. May import
`_core`.
"""
