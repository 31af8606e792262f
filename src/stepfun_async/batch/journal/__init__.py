"""The journal of a batch: what happened to each line.

`database` opens the SQLite file, `journal` has the statements, `admission` decides which job each input line is,
`charges` adds up what jobs cost, and `writer` is the one thread that writes.
May import `items`, `inputs` and `storage`.
"""
