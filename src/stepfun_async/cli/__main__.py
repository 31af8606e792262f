"""`python -m stepfun_async.cli`."""

from . import main

main()
