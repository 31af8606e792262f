"""The lines of a batch: read from files and iterables, and parsed into jobs.

`sources` reads lines, `texts` opens text files and detects their format, `csv_rows` reads the rows of CSV files, and
`jobs` turns a line into a request or its problems. May import nothing else of the batch.
"""
