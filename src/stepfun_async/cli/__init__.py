"""The command line, `stepfun-async`: it parses, calls the SDK and prints.

Nothing of the library imports it. It needs typer and rich, which the extra `cli` brings.
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
    from .app import run

    sys.exit(run(sys.argv[1:]))
