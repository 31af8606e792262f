"""Storage of a batch's images.

`store` names and writes images at a place: a `folder` or a `bucket`, which have `base` in common; `location` describes
either as a plain value. `filenames` builds file names from a template, and `metadata` embeds the request into the
image file. May import nothing else of the batch.
"""
