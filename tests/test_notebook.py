"""Both clients in a real notebook kernel, whose event loop is always running."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOTEBOOK = """
import nbclient
import nbformat

SMALL = "model='step-2x-large', size='256x256'"
cells = [
    f"from stepfun_async import AsyncClient, Client, TextToImage\\n"
    f"client = Client()\\n"
    f"client.images.generate('a lake', {SMALL}).image",
    f"async with AsyncClient() as waiting:\\n"
    f"    response = await waiting.images.generate('a lake', {SMALL})\\n"
    f"response",
    f"[type(outcome).__name__ for outcome in client.images.map([TextToImage(prompt='a lake', {SMALL})] * 2)]",
]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
nbclient.NotebookClient(notebook, timeout=60).execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(sorted(output["data"]), output["data"]["text/plain"].partition("=<")[0][:24])
"""


def test_both_clients_work_in_a_notebook_and_show_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_BASE_URL", "embedded")
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['image/png', 'text/plain'] Image(data",
        "['image/png', 'text/plain'] ImagesResponse(data=(Ima",
        "['text/plain'] ['Finished', 'Finished']",
    ]
