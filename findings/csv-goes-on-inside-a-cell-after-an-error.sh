#!/usr/bin/env bash
# What:     Python's `csv.reader` refuses a cell of more than 131,072 characters, and when it is asked on after that error, it begins in the middle of
#           the cell: the further lines of the quoted cell come as rows of their own. Code that reports a broken row and reads on, as most does,
#           takes them for data.
# Version:  CPython 3.11 (the standard library's `csv`; the same in 3.6 to 3.13).
# Expected: the next row after the cell, or no more rows.
# Seen:     the error, then ['A fox'] and ['A dog"'], which are lines of the cell, then ['A cat'], which is the next row.
set -euo pipefail
python3.11 - <<'PYTHON'
import csv, io, sys

cell = "x" * 131_073 + "\nA fox\nA dog"
text = f'prompt\n"{cell}"\nA cat\n'
rows = csv.reader(io.StringIO(text, newline=""), strict=True)
seen = []
while True:
    try:
        seen.append(next(rows))
    except csv.Error as error:
        seen.append(str(error))
    except StopIteration:
        break
print("Python", sys.version.split()[0], seen)
csv.field_size_limit(10**6)
whole = list(csv.reader(io.StringIO(text, newline=""), strict=True))
print("with csv.field_size_limit(10**6):", [[cell[-12:] for cell in row] for row in whole])
expected = [["prompt"], "field larger than field limit (131072)", ["A fox"], ['A dog"'], ["A cat"]]
sys.exit(not (seen == expected and whole == [["prompt"], [cell], ["A cat"]]))
PYTHON
