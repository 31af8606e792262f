"""One run of a batch.

`engine` runs jobs, `job_runner` one of them, `chunks` and `remote_engine` bring them to a cluster, `claims` keep a line
from being sent twice. May import `report`, `journal`, `items`, `inputs` and `storage`.
"""
