"""The long measurement works: a short one agrees, and one that is wrong says so."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.soak import Account, Fates

from stepfun_async import APIConnectionError, ImagesResponse, Usage

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("code", ["asyncio", "trio", "sync"])
def test_a_short_soak_agrees_with_the_bill(code: str) -> None:
    options = ["--calls", "300", "--faults", "30", "--concurrency", "8", "--timeout", "0.2", "--code", code]
    command = [sys.executable, "-W", "error", "-m", "benchmarks.soak", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    assert "0 mismatches" in run.stdout


def fates() -> Fates:
    """An image, a lost response, and an attempt that was not sent."""
    noted = Fates(3)
    noted.note(0, ImagesResponse((), attempts=1, maybe_billed=1))
    lost, unsent = APIConnectionError("lost"), APIConnectionError("refused", billing="not_sent")
    lost.maybe_billed = 1
    noted.note(1, lost)
    noted.note(2, unsent)
    return noted


@pytest.mark.parametrize(
    ("bills", "wrong"),
    [
        ({"0": 1, "1": 1}, []),
        ({"0": 1}, []),
        ({"0": 2}, ["call 0: 2 charged, 1 reported"]),
        ({"0": 1, "1": 2}, ["call 1: 2 charged, 1 reported"]),
        ({"0": 1, "2": 1}, ["call 2: 1 charged, 0 reported"]),
        ({"1": 1}, ["call 0: a picture that was not charged"]),
    ],
)
def test_each_call_is_held_against_the_bill(bills: dict[str, int], wrong: list[str]) -> None:
    assert list(fates().mismatches(Account(Counter(bills), Counter(), 1))) == wrong


def test_the_usage_has_to_say_the_same() -> None:
    account = Account(Counter({"0": 1}), Counter(), 1)
    assert list(fates().disagreements(account, Usage(billed=1, maybe_billed=1))) == []
    assert list(fates().disagreements(account, Usage(billed=1, maybe_billed=0))) != []
