"""One public call, from its parameters to its result.

`service` runs a call, `attempts` sends and retries it, `record` keeps its state, `save` writes its
image, `settings` and `options` hold what the user chose. May import `_transport`, `_limits`, `_core` and `_runtime`.
"""
