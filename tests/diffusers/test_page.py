"""The program on docs/local-models.md runs, with a tiny model in the place of a real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "local-models.md"


def test_the_program_on_the_page_runs(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sd15").symlink_to(models / "tiny-sd")
    (program,) = re.findall(r"```python\n(from stepfun_async import Client\n.*?)```", PAGE.read_text(), re.DOTALL)
    exec(program, {})
    assert re.fullmatch(r"2 images in \d+ s\n", capsys.readouterr().out)
    assert (tmp_path / "winter.png").stat().st_size > 0
