"""Limits on concurrency, rate and money.

`limits` is the value that users make, `limiter` grants permits by it, `rate` holds the pure rules, `budget` does
the same for money, `shared` asks the `backend` that several processes share. May import `_core` and `_runtime`.
"""
