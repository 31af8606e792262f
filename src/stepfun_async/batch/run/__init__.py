"""One run of a batch.

`recovery` and `earlier_spending` prepare the journal and the budget, `engine` runs jobs with a fixed number of workers,
`job_runner` runs one job, and `threads` does short file work for many. `remote_engine` hands chunks of lines to a
cluster, whose workers run `chunks`; `claims` keep a line from being sent by two of them. `input_check` checks inputs
without a run, and `blocking` runs all of it without an event loop. May import everything of the batch but `batch`.
"""
