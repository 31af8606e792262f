"""One run of a batch.

`engine` runs jobs with a fixed number of workers, `job_runner` runs one job, and `threads` does short file work for
many. `remote_engine` hands chunks of lines to a cluster, whose workers run `chunks`; `claims` keep a line from being
sent by two of them. May import `report`, `journal`, `items`, `inputs` and `storage`.
"""
