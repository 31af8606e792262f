"""This package's client against real servers, with `make servers`: what they get, for each row of docs/servers.md.

LiteLLM's proxy runs before our engine. `sglang_app` runs the HTTP application of SGLang's wheel, with its engine and
the modules of the GPU replaced (`made_up`). It needs more than a gigabyte of packages, so nothing of it is in CI, where
tests/core/test_servers.py and test_inspection.py have the recorded shapes.
"""
