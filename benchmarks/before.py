"""An earlier revision of this package, to be measured beside the present one."""

from __future__ import annotations

import compileall
import subprocess
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
SOURCE = "src"


def extract(revision: str, folder: Path, repository: Path = ROOT) -> Path | None:
    """Extract the package as it was at a revision, and compile it as an installed one is.

    Args:
        revision: what git calls it.
        folder: where the source goes.
        repository: a clone of the repository.

    Returns:
        What to put on the module search path; `None` if there is no git, or no such revision.
    """
    archive = folder / "before.zip"
    command = ["git", "archive", f"--output={archive}", f"{revision}^{{commit}}", SOURCE]
    try:
        subprocess.run(command, cwd=repository, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    with ZipFile(archive) as packed:
        packed.extractall(folder / "before")
    source = folder / "before" / SOURCE
    compileall.compile_dir(source, quiet=2)
    return source
