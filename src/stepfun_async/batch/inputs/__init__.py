"""The lines of a batch: read from files and iterables, and parsed into jobs.

`sources` reads lines, `jobs` turns each into a request or its problems. May import nothing else of the batch.
"""
