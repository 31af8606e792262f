"""The two clients: `AsyncClient`, and `Client` with the same methods without `await`.

`client` has the settings of `AsyncClient`; `images`, `models` and `server` have its methods. `sync` has `Client`, which
runs these methods in a background event loop that all threads share. May import `_call` and everything below it.
"""
