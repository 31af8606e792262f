"""One run of a batch.

`opening` opens the journal; for that, `recovery` settles the jobs of earlier runs, and `earlier_spending` the budget.
`engine` runs jobs with a fixed number of workers, as its `options` say; `job_runner` runs one job, `job_results` builds
its journal row, and `groups` does the file work of many jobs together. `remote_engine` hands chunks of lines to a
cluster, whose workers run `chunks`; `claims` prevent two of them from sending the same line. `progress_display` shows
the progress, `input_check` checks inputs without a run, and `blocking` runs all of it without an event loop. May import
everything of the batch except `batch` and `records`.
"""
