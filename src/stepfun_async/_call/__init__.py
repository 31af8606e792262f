"""One public call, from its parameters to its result.

`service` runs a call, `attempts` sends and retries its request, `record` keeps its state and emits its events, `save`
writes its image, `fan_out` runs many calls, `blocking` runs one or many for `Client`, `usage` counts them; `settings`
and `options` hold what the user chose.
May import `_transport`, `_limits`, `embedded` (when a base URL asks for it), `_core` and `_runtime`.
"""
