"""The lines of a batch: read from files and iterables, and parsed into jobs.

`sources` reads lines from iterables and from `files`; `text_lines`, `csv_lines` and `tables` read one format each.
`texts` opens text files, `csv_rows` splits CSV into rows, `lines` has the value that they all return, `jobs` turns it
into a request or its problems, and `job_reader` does that for many lines. May import nothing else of the batch.
"""
