"""The lines of a batch: read from files and iterables, and parsed into jobs.

`batch_inputs` opens the inputs of a batch; `sources` reads lines from iterables and from `files`, and `text_lines`,
`csv_lines` and `tables` read one format each. `texts` opens text files, `csv_rows` splits CSV into rows, and `lines`
has the value that they all return. `jobs` turns a line into a request or its problems, `job_reader` does that for many
lines, `descriptions` encodes requests for the journal, `defaults` checks the defaults, and `line_schema` makes the JSON
Schema of lines. May import nothing else of the batch.
"""
