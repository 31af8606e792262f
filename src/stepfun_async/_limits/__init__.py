"""Limits on concurrency, rate and money.

`limits` is the value that users create, `limiter` grants permits by it, and `rate` holds the pure rules; `budget` does
the same for money. `shared` acquires permits from the `backend` that several processes share, and `updates` sends it
what is released.
May import `_core` and `_runtime`; `rate` imports nothing.
"""
