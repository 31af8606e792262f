"""The journal of a batch: what became of each line.

`database` opens SQLite, `journal` has the statements, `writer` is the one thread that writes.
May import `items`, `inputs` and `storage`.
"""
