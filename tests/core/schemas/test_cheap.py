"""Schemas cost nothing before one is asked for."""

from __future__ import annotations

import subprocess
import sys


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_request_that_is_made_and_sent_builds_no_schema() -> None:
    loaded = loaded_by(
        "from stepfun_async import Client\n"
        "from stepfun_async.embedded import EmbeddedTransport, Engine\n"
        "transport = EmbeddedTransport(Engine(plain=True))\n"
        "Client(transport=transport, base_url='https://stepfun.test/v1', api_key='k').images.generate('a lake')"
    )
    assert "stepfun_async._core.wire" in loaded
    assert not {name for name in loaded if name.startswith("stepfun_async._core.schemas")}
