"""The images that the embedded engine draws.

`landscape` draws an image with Pillow: `words` reads the prompt, `scenes` (of `scenery`) paint what is behind,
`subjects` places the `figures` of `animals`, `people`, `buildings`, `nature`, `vehicles`, `food` and `objects` (made of
`outlines`, in the colours of `materials`), `edits` changes an image that was sent, `styles` and `lettering` finish it,
in the colours of `palettes`, on a `canvas`; `content` stores what an image contains in its metadata. `plain` draws two
colours without Pillow; `frame` is the specification of an image before it is drawn.
May import `_core`.
"""
