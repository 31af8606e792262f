#!/usr/bin/env bash
# What:     the sum of a column of BIGINT is exact in DuckDB (HUGEINT, 128 bits), and a DOUBLE in the Parquet file that COPY writes of it, without a
#           warning: digits above 2**53 are lost, and every reader sees 1.0 where there was 1.
# Version:  duckdb 2.0.1 (read with pyarrow 26.0.1 as well).
# Expected: a DECIMAL(38, 0), which Parquet has and DuckDB writes when cast by hand, or an error.
# Seen:     9007199254740993 in DuckDB, 9007199254740992.0 in the file. The same table as JSON and as CSV keeps all digits.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet

SUM = "SELECT sum(number) AS total FROM (VALUES (9007199254740992::BIGINT), (1::BIGINT)) AS t(number)"
(((exact,),), kind) = (duckdb.sql(SUM).fetchall(), duckdb.sql(SUM).types[0])
for ending in ("parquet", "json", "csv"):
    duckdb.sql(f"COPY ({SUM}) TO 'a.{ending}'")
duckdb.sql("COPY (SELECT total::DECIMAL(38, 0) AS total FROM (%s)) TO 'cast.parquet'" % SUM)
table, cast = pyarrow.parquet.read_table("a.parquet"), pyarrow.parquet.read_table("cast.parquet")
written, kept = table["total"][0].as_py(), cast["total"][0].as_py()
print(f"DuckDB {duckdb.__version__}: {exact} ({kind}); in Parquet {written!r} ({table.schema.field(0).type}); cast: {kept!r}")
print("JSON:", Path("a.json").read_text().strip(), " CSV:", Path("a.csv").read_text().split())
sys.exit(not (exact == 9007199254740993 == int(kept) and written == 9007199254740992.0 and type(written) is float))
PYTHON
