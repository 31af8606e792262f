"""JSON Schemas and pydantic types made from the rows of the model tables.

`rules` describes one parameter, `rows` a request. `validation`, `serialization` and
`equality` are what the request classes read, write and compare with; `types` makes a class for one row. Nothing here is
imported before it is used.
"""
