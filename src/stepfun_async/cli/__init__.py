"""The command line, `stepfun-async`: it parses arguments, calls the SDK and prints.

`app` combines the commands and maps errors to exit codes. Each command has a module or, like `batch` and `mcp`, a
folder; `options`, `help_text`, `console`, `errors`, `filenames` and `exit_codes` serve all of them. It needs typer and
rich, which the extra `cli` installs. May import `_client`, `batch` and everything below; nothing in the library imports
it.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NoReturn

_NEEDED = ("typer", "rich")


def main() -> NoReturn:
    """Run the command line with the arguments of this process, and exit with its code."""
    if any(find_spec(name) is None for name in _NEEDED):
        print('the command line needs typer and rich: pip install "stepfun-async[cli]"', file=sys.stderr)
        sys.exit(3)
    try:
        from .app import run
    except KeyboardInterrupt:  # Ctrl-C while the modules load, which takes a second
        print("error: interrupted; nothing was sent", file=sys.stderr)
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))
