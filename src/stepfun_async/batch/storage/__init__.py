"""Storage of a batch's images.

`store` names and writes images to a file store: a `folder` or a `bucket`, whose protocol is in `base`; `location`
describes either as a plain value. `group_write` flushes the files of a group together, `filenames` builds file names
from a template, and `metadata` embeds the request into the image file. May import nothing else of the batch.
"""
