"""Real gateways between the SDK and an upstream that bills: what the SDK reports is held against the bill.

`gateways.py` has a row for each gateway: how it is configured and started, and what it is known to do.
`faults.py` has a row for each fault of the upstream. `cells.py` makes one call through one gateway while one
fault lasts, and says which promise the outcome breaks. `test_gateways.py` is the part that runs with all other
tests; `python -m tests.gateways`, or `make gateways`, runs everything and prints it.
"""
