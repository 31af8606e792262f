"""The pure core: model tables, request values, validation, wire format, results, retry decisions and errors.

`capabilities`, `rules` and `registry` are the tables; `requests`, `validation` and `wire` turn a request into HTTP;
`responses` and `reasons` read responses; `outcomes` has what each outcome costs and `retry` whether to retry;
`headers`, `input_images` and `rendering` read images. No HTTP library, event loop, clock, randomness or environment in
here. May import `_runtime.files`, to read an image that is sent and to save one, and nothing else of this package.
"""
