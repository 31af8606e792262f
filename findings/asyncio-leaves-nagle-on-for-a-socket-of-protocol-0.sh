#!/usr/bin/env bash
# What:     asyncio sets TCP_NODELAY on connections that it opens by host and port, but not on one made as everybody makes it,
#           `socket.socket(family, SOCK_STREAM)`, and handed over by `create_connection(sock=...)` or `open_connection(sock=...)`: it looks at
#           the socket's `proto`, which is 0 there. The end of each larger body then waits for a delayed acknowledgement.
# Versions: CPython 3.11.7, asyncio; uvloop 0.22.1, which sets it in both cases, for comparison.
# Expected: the same for both, as in uvloop: documented is only that `sock` is "an existing, already connected socket object".
# Seen:     by host 1; sock= with protocol 0: 0; sock= with IPPROTO_TCP: 1. uvloop: 1, 1, 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvloop==0.22.1
timeout 60 venv/bin/python - <<'PYTHON'
import asyncio, platform, socket, sys

import uvloop


async def main():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    where = server.sockets[0].getsockname()

    async def nodelay(**how):
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, **how)
        value = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.abort()
        return int(bool(value))

    def connected(protocol):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.connect(where)
        made.setblocking(False)
        return made

    return [await nodelay(host=where[0], port=where[1]), await nodelay(sock=connected(0)), await nodelay(sock=connected(socket.IPPROTO_TCP))]


found = {"asyncio": asyncio.Runner(), "uvloop": asyncio.Runner(loop_factory=uvloop.new_event_loop)}
found = {name: runner.run(main()) for name, runner in found.items()}
print(f"CPython {platform.python_version()}, uvloop {uvloop.__version__}: by host, sock= of protocol 0, sock= of IPPROTO_TCP")
for name, seen in found.items():
    print(f"{name}: {seen}")
sys.exit(0 if found == {"asyncio": [1, 0, 1], "uvloop": [1, 1, 1]} else 1)
PYTHON
