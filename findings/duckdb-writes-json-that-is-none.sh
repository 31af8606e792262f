#!/usr/bin/env bash
# What:     DuckDB writes the DOUBLEs NaN and Infinity to JSON as the bare words NaN and Infinity, which JSON does not have, without an error: the file is
#           read by DuckDB, pandas, pyarrow and Python's json, and refused as a whole by polars, orjson and Node. polars writes null for both.
# Versions: duckdb 2.0.1, polars 2.1.0, orjson 3.13.0, pandas 3.1.1, pyarrow 26.0.1; Node only where there is one.
# Expected: null, or an error, or strings; something that every reader of JSON takes.
# Seen:     {"score":NaN}; pandas, pyarrow and json.loads give nan; polars ComputeError, orjson JSONDecodeError, JSON.parse SyntaxError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 polars==2.1.0 orjson==3.13.0 pandas==3.1.1 pyarrow==26.0.1
timeout 60 venv/bin/python - <<'PYTHON'
import json
import math
import pathlib
import shutil
import subprocess
import sys

import duckdb
import orjson
import pandas
import polars
import pyarrow.json

duckdb.sql("COPY (SELECT 'nan'::DOUBLE AS score UNION ALL SELECT 'inf'::DOUBLE) TO 'scores.jsonl' (FORMAT json)")
text = pathlib.Path("scores.jsonl").read_text()
print("DuckDB:", text.split(), "polars:", polars.DataFrame({"score": [math.nan, math.inf]}).write_ndjson().split())


def by_node():
    return subprocess.run(["node", "-e", "JSON.parse(process.argv[1])", text.splitlines()[0]], capture_output=True, text=True, check=True)


readers = {
    "DuckDB": lambda: duckdb.sql("FROM 'scores.jsonl'").fetchall()[0][0],
    "pandas": lambda: pandas.read_json("scores.jsonl", lines=True)["score"][0],
    "pyarrow": lambda: pyarrow.json.read_json("scores.jsonl")["score"][0].as_py(),
    "json": lambda: json.loads(text.splitlines()[0])["score"],
    "polars": lambda: polars.read_ndjson("scores.jsonl")["score"][0],
    "orjson": lambda: orjson.loads(text.splitlines()[0])["score"],
    **({"Node": by_node} if shutil.which("node") else {}),
}
refused = set()
for name, read in readers.items():
    try:
        found = read()
        assert math.isnan(found)
    except (polars.exceptions.ComputeError, orjson.JSONDecodeError, subprocess.CalledProcessError) as error:
        found = type(error).__name__
        refused.add(name)
    print(f"{name:8}{found}")
sys.exit(text.split() != ['{"score":NaN}', '{"score":Infinity}'] or refused != {"polars", "orjson", "Node"} & readers.keys())
PYTHON
