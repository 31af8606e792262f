#!/usr/bin/env bash
# What:     polars takes the columns of JSON lines from the first 100 of them. A key that comes up later is dropped in silence, at the top and
#           inside an object; where the first 100 lines have the key with null, the same value is an error instead.
# Version:  polars 2.1.0; `read_ndjson` and `scan_ndjson` with their defaults.
# Expected: all values, as pandas and pyarrow give them, or an error for each of the three files.
# Seen:     200 rows without the key, 200 rows without the part of the object, and ComputeError "got non-null value for NULL-typed column".
#           `infer_schema_length=None` reads all three.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0
venv/bin/python - <<'PYTHON'
import json, sys
import polars

LATE = 150


def lines(name, line_of):
    with open(name, "w") as file:
        file.writelines(json.dumps(line_of(number)) + "\n" for number in range(200))


lines("absent.jsonl", lambda number: {"id": number} | ({"error": "late"} if number == LATE else {}))
lines("inside.jsonl", lambda number: {"id": number, "request": {"a": 1} | ({"b": 2} if number == LATE else {})})
lines("null.jsonl", lambda number: {"id": number, "error": "late" if number == LATE else None})

seen = {}
for name in ("absent", "inside", "null"):
    for read in (polars.read_ndjson, lambda path: polars.scan_ndjson(path).collect()):
        try:
            table = read(f"{name}.jsonl")
            seen.setdefault(name, []).append((table.columns, table.row(LATE, named=True)))
        except polars.exceptions.ComputeError as error:
            seen.setdefault(name, []).append(str(error))
for name, found in seen.items():
    print(f"polars {polars.__version__}, {name}.jsonl: {found}")
whole = polars.read_ndjson("absent.jsonl", infer_schema_length=None)["error"][LATE]
print("with infer_schema_length=None:", whole)
expected = {
    "absent": [(["id"], {"id": LATE})] * 2,
    "inside": [(["id", "request"], {"id": LATE, "request": {"a": 1}})] * 2,
}
same = all(seen[name] == found for name, found in expected.items())
sys.exit(not (same and all("NULL-typed column" in text for text in seen["null"]) and whole == "late"))
PYTHON
