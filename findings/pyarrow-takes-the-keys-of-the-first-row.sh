#!/usr/bin/env bash
# What:     `Table.from_pylist` and `Dataset.from_list` take the columns from the first row alone: a key that the second row has and the first lacks is
#           dropped without a word. Inside an object both take the keys of all rows.
# Versions: pyarrow 26.0.1, datasets 5.2.0; pandas 3.1.1, polars 2.1.0 and DuckDB 2.0.1 (reading the same rows as JSON lines) to compare.
# Expected: a column "error" with null in the first row, as in the three others.
# Seen:     [{"id": 1}, {"id": 2, "error": "late"}]: pyarrow and datasets have the column "id" alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1 datasets==5.2.0 pandas==3.1.1 polars==2.1.0 duckdb==2.0.1
HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/cache" timeout 120 venv/bin/python - <<'PYTHON'
import json
import sys

import datasets
import duckdb
import pandas
import polars
import pyarrow

ROWS = [{"id": 1}, {"id": 2, "error": "late"}]
INSIDE = [{"request": row} for row in ROWS]


def by_duckdb(rows):
    with open("rows.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return duckdb.sql("FROM 'rows.jsonl'").columns


ways = {
    "pyarrow": lambda rows: pyarrow.Table.from_pylist(rows).column_names,
    "datasets": lambda rows: datasets.Dataset.from_list(rows).column_names,
    "pandas": lambda rows: list(pandas.DataFrame(rows).columns),
    "polars": lambda rows: polars.DataFrame(rows).columns,
    "DuckDB": by_duckdb,
}
seen = {name: columns(ROWS) for name, columns in ways.items()}
print(seen)
inside = pyarrow.Table.from_pylist(INSIDE).to_pylist()[1], datasets.Dataset.from_list(INSIDE)[1]
print("inside an object:", inside)
one = ("pyarrow", "datasets")
sys.exit(inside != (INSIDE[1],) * 2 or any(found != (["id"] if name in one else ["id", "error"]) for name, found in seen.items()))
PYTHON
