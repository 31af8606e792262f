"""Whatever becomes of the inputs, prices, budgets and processes of a batch: what is told of money agrees with the bill.

`python -m tests.attack.histories` goes on for as long as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.histories import play


@pytest.mark.parametrize("seed", range(30))
def test_a_history_is_told_as_it_was(tmp_path: Path, seed: int) -> None:
    play(seed, tmp_path)
