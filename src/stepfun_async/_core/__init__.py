"""The pure core: tables, values, validation, wire form, results, retry decisions, errors.

Nothing in here knows HTTP, an event loop, the clock, randomness or the environment. What has to
touch a disk (reading a picture to edit, saving one) goes through `stepfun_async._runtime.files`.
"""
