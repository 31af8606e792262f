#!/usr/bin/env bash
# What:     A claim of a job with `UPDATE ... RETURNING` in autocommit mode, as queues in SQLite do it, is neither committed nor visible to others when
#           `execute` returns, and every other writer finds the database locked. How much has to be fetched depends on the module: one row by
#           `fetchone` is enough for sqlite3 and not for apsw, which has to be asked for the end as well; of two rows, `fetchone` is enough for none.
#           A worker that takes its job so, and works with the cursor still there, keeps all others out, and its claim is lost with it.
# Versions: CPython 3.11's sqlite3 (isolation_level=None), aiosqlite 0.22.1, which is built on it, and apsw 3.54.1.0; WAL.
# Expected: committed when `execute` returns, as the same UPDATE without RETURNING is.
# Seen:     after `execute`: 0 rows visible, locked. One row, after `fetchone`: committed by sqlite3 and aiosqlite; 0 visible and locked with apsw. Two
#           rows, after `fetchone`: 0 visible and locked with all three. After `fetchall`: committed by all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiosqlite==0.22.1 apsw==3.54.1.0
cat >others.py <<'PYTHON'
"""What another process sees and can do; in a process of its own, since two builds of SQLite in one do not heed each other's locks."""
import sqlite3
import sys

for _ in sys.stdin:
    connection = sqlite3.connect("jobs.db", isolation_level=None, timeout=0)
    (taken,) = connection.execute("SELECT count(*) FROM jobs WHERE taken=1").fetchone()
    try:
        connection.execute("UPDATE jobs SET taken=0 WHERE id=9")
        print(f"{taken} taken, free", flush=True)
    except sqlite3.OperationalError as error:
        print(f"{taken} taken, {error}", flush=True)
    connection.close()
PYTHON
timeout 60 venv/bin/python - <<'PYTHON'
import asyncio
import pathlib
import sqlite3
import subprocess
import sys

import aiosqlite
import apsw

observer = subprocess.Popen([sys.executable, "others.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def others():
    observer.stdin.write("\n")
    observer.stdin.flush()
    return observer.stdout.readline().strip()


def claim(count):
    return f"UPDATE jobs SET taken=1 WHERE id IN (SELECT id FROM jobs WHERE taken=0 LIMIT {count}) RETURNING id"


SETUP = [
    "PRAGMA journal_mode=wal",
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, taken INTEGER DEFAULT 0)",
    *(f"INSERT INTO jobs (id) VALUES ({number})" for number in range(10)),
]


def fresh():
    for path in pathlib.Path().glob("jobs.db*"):
        path.unlink()


def through(connect, count):
    fresh()
    connection = connect()
    for statement in SETUP:
        connection.execute(statement).fetchall()
    cursor = connection.execute(claim(count))
    steps = [others()]
    cursor.fetchone()
    steps.append(others())
    cursor.fetchall()
    steps.append(others())
    connection.close()
    return steps


async def on_asyncio(count):
    fresh()
    async with aiosqlite.connect("jobs.db", isolation_level=None) as connection:
        for statement in SETUP:
            await connection.execute_fetchall(statement)
        cursor = await connection.execute(claim(count))
        steps = [others()]
        await cursor.fetchone()
        steps.append(others())
        await cursor.fetchall()
        return [*steps, others()]


seen = {}
for count in (1, 2):
    seen["sqlite3", count] = through(lambda: sqlite3.connect("jobs.db", isolation_level=None), count)
    seen["aiosqlite", count] = asyncio.run(on_asyncio(count))
    seen["apsw", count] = through(lambda: apsw.Connection("jobs.db"), count)
observer.stdin.close()
observer.wait()
for (name, count), (executed, one, rest) in seen.items():
    print(f"{name:10}{count} row(s): execute: {executed}; fetchone: {one}; fetchall: {rest}")
LOCKED = "0 taken, database is locked"
for (name, count), steps in seen.items():
    done = f"{count} taken, free"
    first = done if count == 1 and name != "apsw" else LOCKED
    if steps != [LOCKED, first, done]:
        sys.exit(f"{name} {count}: {steps}")
PYTHON
