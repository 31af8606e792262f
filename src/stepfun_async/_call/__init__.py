"""One public call, from its parameters to its result.

`caller` is the path of a call, `attempts` decides about retries, `record` keeps the state and emits the events, `save`
writes the image, `fan_out` runs many calls, whose `outcomes` it yields, `blocking` runs calls for `Client`, `usage`
counts them; `service` makes a caller of what the user chose, which `settings` and `options` hold.
May import `_transport`, `_limits`, `embedded` (when a base URL asks for it), `_core` and `_runtime`.
"""
