"""Both clients in a real notebook kernel, whose event loop is always running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    f"requests = [TextToImage(prompt='a lake', {SMALL})] * 2\\n"
    f"[type(outcome).__name__ for outcome in client.images.map(requests, progress=True)]",
]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
nbclient.NotebookClient(notebook, timeout=60).execute()
for cell in notebook.cells:
    for output in cell.outputs:
        text = output["data"]["text/plain"].partition("=<")[0].partition(" \N{MIDDLE DOT}")[0]
        print(sorted(output["data"]), text[:24])
"""


def test_both_clients_work_in_a_notebook_and_show_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_BASE_URL", "embedded")
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['image/png', 'text/plain'] Image(data",
        "['image/png', 'text/plain'] ImagesResponse(data=(Ima",
        "['text/html', 'text/plain'] 2 of 2 (100 %)",
        "['text/plain'] ['Finished', 'Finished']",
    ]


DOCUMENTED = """
import sys
import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=60).execute()
for cell in notebook.cells:
    if cell.cell_type == "code":
        print(*(sorted(output.get("data", {"text": ""})) for output in cell.outputs))
"""


def test_the_notebook_of_the_documentation_runs_and_shows_its_images(tmp_path: Path) -> None:
    notebook = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
    run = [sys.executable, "-c", DOCUMENTED, str(notebook)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    image, value = "['image/png', 'text/plain']", "['text/plain']"
    assert done.stdout.splitlines() == [image, image, value, image, "['text']"]
