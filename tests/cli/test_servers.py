"""`servers`, `server` and `--server`: what is shown, checked and sent for servers other than StepFun's."""

import json
from pathlib import Path

import pytest

from stepfun_async import servers
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running

from .conftest import Run

OMNI = ("--server", "vllm-omni", "--base-url", "http://localhost:8091/v1")


def test_servers_are_listed(cli: Run) -> None:
    ran = cli("servers")
    assert ran.code == 0
    assert all(server.name in ran.out for server in servers())
    listed = json.loads(cli("servers", "--json").out)
    assert [server["name"] for server in listed] == [server.name for server in servers()]


def test_all_facts_about_a_server_are_shown(cli: Run) -> None:
    ran = cli("servers", "vllm-omni")
    assert "strength" in ran.out
    assert "0.30.0" in ran.out
    (facts,) = json.loads(cli("servers", "sglang", "--json").out)
    assert facts["routes"]["text_to_image"]["wire_names"]["steps"] == "num_inference_steps"
    assert facts["seeding"] == "fixed"


def test_an_unknown_server_is_refused(cli: Run) -> None:
    ran = cli("servers", "vllm-omi")
    assert (ran.code, "Did you mean 'vllm-omni'" in ran.err) == (2, True)
    ran = cli("generate", "A lake", "--server", "vllm-omi")
    assert (ran.code, "Did you mean 'vllm-omni'" in ran.err) == (3, True)


def test_a_profile_that_does_not_fit_the_address_is_refused(cli: Run) -> None:
    ran = cli("account", "--server", "sglang", "--base-url", "https://api.stepfun.ai/v1")
    assert (ran.code, "--server sglang does not fit --base-url" in ran.err) == (3, True)


def test_a_model_of_an_open_engine_needs_no_more_than_its_name(cli: Run) -> None:
    ran = cli("check", "generate", "A lake", "--model", "Qwen/Qwen-Image")
    assert (ran.code, "not in the tables" in ran.err) == (2, True)
    ran = cli("check", "generate", "A lake", "--model", "Qwen/Qwen-Image", "--size", "16:9", "--steps", "20", *OMNI)
    assert ran.code == 0, ran.err
    assert "num_inference_steps: 20" in ran.out
    assert "size: 1360x768" in ran.out


def test_what_a_server_does_not_have_is_refused_by_its_option(cli: Run) -> None:
    ran = cli("check", "generate", "A lake", "--model", "Qwen/Qwen-Image", "--text-mode", *OMNI)
    assert (ran.code, "--text-mode: got True" in ran.err) == (2, True)


def test_the_lines_of_a_batch_are_checked_for_the_server(cli: Run, folder: Path) -> None:
    (folder / "lines.jsonl").write_text('{"prompt": "a lake", "text_mode": true}\n{"prompt": "a hill", "steps": 150}\n')
    ran = cli("batch", "check", "lines.jsonl", "--model", "Qwen/Qwen-Image", *OMNI, "--json")
    found = json.loads(ran.out)
    assert [line["line"] for line in found["bad_lines"]] == [1]
    assert "vllm-omni" in ran.out


@pytest.mark.parametrize("as_json", [False, True])
def test_a_server_is_looked_at_for_free(cli: Run, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    engine = Engine()
    monkeypatch.setenv("STEP_API_KEY", "any")
    with running(engine) as url:
        ran = cli("server", url, *(["--json"] if as_json else []))
    assert (ran.code, ran.err) == (0, "")
    assert engine.bill().calls == 0
    if as_json:
        report = json.loads(ran.out)
        assert (report["server"], report["operations"]["edit"], report["account"]) == ("embedded", True, True)
    else:
        assert "shown by:       the wording of its errors" in ran.out
        assert f"to use it:      Client(base_url='{url}')" in ran.out


def test_a_server_that_wants_a_key_is_shown_as_far_as_it_goes(cli: Run) -> None:
    with running(Engine()) as url:
        ran = cli("server", url)
    assert ran.code == 0
    assert "key:            refused, or missing" in ran.out


def test_a_server_that_is_not_there_is_a_connection_error(cli: Run) -> None:
    ran = cli("server", "http://127.0.0.1:9/v1")
    assert ran.code == 7
    assert "no connection to 127.0.0.1" in ran.err
