"""This package's client against real servers, with `make servers`: what they get, for each row of docs/servers.md.

LiteLLM's proxy runs before our engine. `sglang_app` runs the HTTP application of SGLang's wheel, and `vllm_omni_app`
the `vllm serve --omni` of vLLM-Omni's, with the engine and the modules of the GPU replaced (`made_up`). They need
gigabytes of packages, so nothing of it is in CI, which has the recorded shapes: tests/core/test_servers.py and
test_inspection.py, tests/call/test_servers.py.
"""
