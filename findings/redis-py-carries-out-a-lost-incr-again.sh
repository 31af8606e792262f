#!/usr/bin/env bash
# What:     redis-py sends a command again, ten times by default, when the connection closes before the reply, whatever the command is: a lost
#           reply makes one INCR two (a rate limit or a budget counts twice), one RPUSH two elements, and loses what LPOP took out, without an error.
# Versions: redis 8.1.0, sync and asyncio; valkey 6.2.0, a fork of it, to compare.
# Expected: ConnectionError for commands that may have been carried out, as from valkey; retries for those that change nothing, such as GET.
# Seen:     the first reply to each is lost. redis: INCR gives 2, RPUSH leaves 2 elements, LPOP gives the second one. valkey: ConnectionError, and
#           each is carried out once. A server that always closes carries one INCR out 11 times. `retry=Retry(NoBackoff(), 0)` switches it off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check redis==8.1.0 valkey==6.2.0
timeout 120 venv/bin/python - <<'PYTHON'
import asyncio
import socket
import sys
import threading

import redis
import redis.asyncio
import redis.backoff
import redis.retry
import valkey

counter, jobs, lost = 0, [], 0


def carried_out(name, words):
    """The reply to a command; the few that are needed here."""
    global counter
    if name == b"INCRBY":
        counter += int(words[2])
        return b":%d\r\n" % counter
    if name == b"RPUSH":
        jobs.append(words[2])
        return b":%d\r\n" % len(jobs)
    if name == b"LPOP":
        job = jobs.pop(0)
        return b"$%d\r\n%s\r\n" % (len(job), job)
    if name == b"HELLO":
        return b"%3\r\n+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n"
    return b"+OK\r\n"


def serve(connection):
    global lost
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            words = []
            for _ in range(int(line[1:])):
                words.append(stream.read(int(stream.readline()[1:])))
                stream.readline()
            reply = carried_out(words[0].upper(), words)
            if words[0].upper() in (b"INCRBY", b"RPUSH", b"LPOP") and lost:
                lost -= 1
                return
            connection.sendall(reply)


def accept():
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, daemon=True).start()
port = listener.getsockname()[1]


def told(command, losing=1):
    global lost
    lost = losing
    try:
        return command()
    except (redis.ConnectionError, valkey.ConnectionError) as error:
        return type(error).__name__
    finally:
        lost = 0


async def on_asyncio():
    client = redis.asyncio.Redis(port=port)
    try:
        return await client.incr("calls")
    finally:
        await client.aclose()


def through(client):
    global counter, jobs
    counter, jobs = 0, []
    one = told(lambda: client.incr("calls")), counter
    two = told(lambda: client.rpush("jobs", "a lake")), len(jobs)
    jobs = [b"first", b"second"]
    three = told(lambda: client.lpop("jobs")), len(jobs)
    return {"INCR": one, "RPUSH": two, "LPOP": three}


seen = {"redis": through(redis.Redis(port=port)), "valkey": through(valkey.Valkey(port=port))}
without = redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
seen["redis, no retries"] = through(without)
counter = 0
seen["redis on asyncio"] = {"INCR": (told(lambda: asyncio.run(on_asyncio())), counter)}
counter = 0
seen["redis, all replies lost"] = {"INCR": (told(lambda: redis.Redis(port=port).incr("calls"), 100), counter)}
for name, found in seen.items():
    print(f"{name}: {found}  (what the call returned; the counter, or the number of jobs left)")
once = {"INCR": ("ConnectionError", 1), "RPUSH": ("ConnectionError", 1), "LPOP": ("ConnectionError", 1)}
expected = {
    "redis": {"INCR": (2, 2), "RPUSH": (2, 2), "LPOP": (b"second", 0)},
    "valkey": once,
    "redis, no retries": once,
    "redis on asyncio": {"INCR": (2, 2)},
    "redis, all replies lost": {"INCR": ("ConnectionError", 11)},
}
sys.exit(seen != expected)
PYTHON
