"""Behind real gateways nothing is billed in silence, and nothing is resent once the upstream had it.

Each fault meets asyncio, trio and the sync client; the operations take turns. `make gateways` crosses them all.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gateways.cells import OPERATIONS, Operation, Place, place, response_of
from tests.gateways.faults import FAULTS, Fault
from tests.gateways.gateways import GATEWAYS, Gateway
from tests.support.shells import SHELLS, Shell, shell

ROOT = Path(__file__).parents[2]

HERE = [gateway for gateway in GATEWAYS if gateway.group == "gateways"]
FAST = [fault for fault in FAULTS if fault.name != "connection refused"]
"""HAProxy waits for three seconds before it says so, and nothing is sent then."""


@pytest.fixture(scope="module")
def shells() -> Iterator[Mapping[str, Shell]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(shell(name)) for name in SHELLS}


@pytest.fixture(scope="module", params=HERE, ids=lambda gateway: gateway.name)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The gateway, running; where it is not installed the test is skipped, and in CI it fails."""
    gateway: Gateway = request.param
    if gateway.version is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{gateway.name} is not installed: make pytest")
    with place(gateway, tmp_path_factory.mktemp("gateway")) as running:
        yield running


def _cells() -> Iterator[tuple[str, Fault, Operation]]:
    for number, fault in enumerate(FAST):
        for turn, where in enumerate(SHELLS):
            yield where, fault, OPERATIONS[(number + turn) % len(OPERATIONS)]


@pytest.mark.parametrize(
    ("where", "fault", "operation"),
    [pytest.param(*cell, id=f"{cell[0]}-{cell[2].name}-{cell[1].name}") for cell in _cells()],
)
def test_what_was_billed_is_reported_and_not_sent_again(
    where: str, fault: Fault, operation: Operation, here: Place, shells: Mapping[str, Shell]
) -> None:
    outcome = here.call(shells[where], fault, operation)
    assert list(outcome.wrongs(here.gateway, fault, operation)) == []
    assert bool(outcome.billed) is fault.made
    if fault.name in here.gateway.responses and operation.requests == 1:
        assert [response_of(one) for one in outcome.results] == [here.gateway.responses[fault.name]]
    if fault.later:
        assert outcome.hung_up is here.gateway.passes_hang_up


def test_the_page_says_what_the_gateways_do() -> None:
    """The rows are held to by the test above, and the page is held to the rows."""
    page = (ROOT / "docs" / "gateways.md").read_text()
    lost = page.partition("## Lost responses")[2].partition("\n## ")[0]
    rows = {cells[1].split()[0]: cells for line in lost.splitlines() if len(cells := line.split("|")) > 5}
    for gateway in (one for one in HERE if "," not in one.name):
        _, _, new, kept, breaks_off, *_ = rows[gateway.name]
        responses = gateway.responses
        assert str(responses["closed without an answer, new connection"]) in new
        assert str(responses["closed without an answer"]) in kept
        assert responses["answer breaks off"] == "closed"
        assert "breaks off" in breaks_off


def test_the_page_names_the_versions_that_run() -> None:
    page = (ROOT / "docs" / "gateways.md").read_text()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    pinned = [one.partition(";")[0] for group in {one.group for one in GATEWAYS} for one in groups[group]]
    assert len(pinned) == 6
    for requirement in pinned:
        assert f" {requirement.partition('==')[2]}" in page, requirement
