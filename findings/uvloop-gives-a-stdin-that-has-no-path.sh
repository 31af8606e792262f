#!/usr/bin/env bash
# What:     The stdin of a process that uvloop starts with `stdin=PIPE` is a socket and not a pipe, and Linux does not open a socket by its path: a
#           program that is given `/dev/stdin` as its input file fails ("No such device or address"), while `-` or no file works.
# Versions: uvloop 0.23.0; CPython 3.11 (`subprocess` and asyncio), anyio 4.16.0 and trio 0.35.0 to compare; Linux.
# Expected: the same as from asyncio, which uvloop is a drop-in replacement for.
# Seen:     `cat /dev/stdin` with the input b"hi": subprocess, asyncio, anyio and trio b"hi"; uvloop b"" and exit code 1. `cat -`: b"hi" from all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvloop==0.23.0 anyio==4.16.0 trio==0.35.0
timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import subprocess
import sys
from functools import partial

import anyio
import trio
import uvloop


async def by_asyncio(command):
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return (await process.communicate(b"hi"))[0]


async def by_anyio(command):
    return (await anyio.run_process(command, input=b"hi", check=False)).stdout


async def by_trio(command):
    return (await trio.run_process(command, stdin=b"hi", capture_stdout=True, check=False)).stdout


ways = {
    "subprocess": lambda command: subprocess.run(command, input=b"hi", stdout=subprocess.PIPE).stdout,
    "asyncio": lambda command: asyncio.run(by_asyncio(command)),
    "uvloop": lambda command: uvloop.run(by_asyncio(command)),
    "anyio on asyncio": partial(anyio.run, by_anyio),
    "trio": partial(trio.run, by_trio),
}
seen = {(name, file): run(["cat", file]) for name, run in ways.items() for file in ("/dev/stdin", "-")}
for (name, file), output in seen.items():
    print(f"{name:18}cat {file:12}{output}")
sys.exit(any(output != (b"" if key == ("uvloop", "/dev/stdin") else b"hi") for key, output in seen.items()))
PYTHON
