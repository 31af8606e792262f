#!/usr/bin/env bash
# What:     Identifiers that are strings in JSON lines, in quotes, come back as other identifiers: pandas makes numbers of them if all look like
#           numbers (hexadecimal ones with an e, too, and long ones lose digits as soon as one is missing); DuckDB makes UUIDs in capitals
#           lower case, and of ratios times; pyarrow and `datasets` make timestamps of dates.
# Versions: pandas 3.1.1, duckdb 2.0.1, pyarrow 26.0.1, datasets 5.2.0, polars 2.1.0.
# Expected: strings, which JSON tells from numbers; guessing is for CSV.
# Seen:     "9007199254740993" is 9007199254740992.0 and "12e3" is 12000.0 in pandas; "6BA7B810-..." is "6ba7b810-..." and "16:09" is "16:09:00" in
#           what DuckDB writes again; "2024-01-02" is "2024-01-02 00:00:00" by pyarrow and `datasets`. polars gives all as they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pandas==3.1.1 duckdb==2.0.1 pyarrow==26.0.1 datasets==5.2.0 polars==2.1.0
HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/cache" timeout 180 venv/bin/python - 2>errors <<'PYTHON' || { tail -5 errors; exit 1; }
import json
import sys

import datasets
import duckdb
import pandas
import polars
import pyarrow.json

datasets.disable_progress_bars()


def by_duckdb(name):
    duckdb.sql(f"COPY (FROM '{name}') TO 'again.jsonl' (FORMAT json)")
    with open("again.jsonl") as lines:
        return [json.loads(line)["id"] for line in lines]


readers = {
    "pandas": lambda name: pandas.read_json(name, lines=True)["id"].tolist(),
    "DuckDB": by_duckdb,
    "pyarrow": lambda name: pyarrow.json.read_json(name)["id"].to_pylist(),
    "datasets": lambda name: datasets.load_dataset("json", data_files=name)["train"]["id"][:],
    "polars": lambda name: polars.read_ndjson(name)["id"].to_list(),
}
files = {
    "long": ["9007199254740993", "12", None],
    "hexadecimal": ["12e3", "4501"],
    "uuid": ["6BA7B810-9DAD-11D1-80B4-00C04FD430C8"],
    "ratio": ["16:09", "09:16"],
    "date": ["2024-01-02", "2024-01-03"],
}
seen = {}
for kind, ids in files.items():
    with open(f"{kind}.jsonl", "w") as file:
        file.writelines(json.dumps({"id": one}) + "\n" for one in ids)
    for name, read in readers.items():
        found = read(f"{kind}.jsonl")
        if found != ids:
            seen[kind, name] = str(found[0])
            print(f"{kind:12}{name:9}{ids[0]!r} is {str(found[0])!r}")
expected = {
    ("long", "pandas"): "9007199254740992.0",
    ("hexadecimal", "pandas"): "12000.0",
    ("uuid", "DuckDB"): "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    ("ratio", "DuckDB"): "16:09:00",
    ("date", "pyarrow"): "2024-01-02 00:00:00",
    ("date", "datasets"): "2024-01-02 00:00:00",
}
if seen != expected:
    print("expected:", expected)
    sys.exit(1)
PYTHON
