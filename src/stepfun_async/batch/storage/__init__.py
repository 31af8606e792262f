"""Where a batch keeps its images.

`store` is a folder, `bucket` an object store, `location` names either, `filenames` makes names, `metadata` writes
into the images. May import nothing else of the batch.
"""
