"""Where a batch keeps its images.

`store` is a folder, `bucket` an object store, and `location` describes either as a plain value; `filenames` builds file
names from a template, and `metadata` embeds the request into the image file. May import nothing else of the batch.
"""
