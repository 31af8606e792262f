#!/usr/bin/env bash
# What:     `Dataset.from_generator(rows)` gives the rows of the last time, also in a new process, when the file that `rows` reads has changed since: the
#           result is cached by the function and its arguments, and never by what it reads. `load_dataset` notices a changed file.
# Version:  datasets 5.2.0.
# Expected: the rows that the generator yields now, as its name says.
# Seen:     with "two" and "three" in the file, from_generator says ["one"], and load_dataset("text") ["two", "three"]. No warning; the generator is
#           not called.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0
cat >rows.py <<'PYTHON'
import json

import datasets

datasets.disable_progress_bars()


def rows():
    print("called")
    with open("prompts.txt") as lines:
        for line in lines:
            yield {"text": line.strip()}


made = datasets.Dataset.from_generator(rows)["text"][:]
loaded = datasets.load_dataset("text", data_files="prompts.txt")["train"]["text"][:]
print(json.dumps([made, loaded]))
PYTHON
export HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/cache"
echo one >prompts.txt
first=$(timeout 120 venv/bin/python rows.py 2>errors)
printf 'two\nthree\n' >prompts.txt
second=$(timeout 120 venv/bin/python rows.py 2>>errors)
printf '%s\n' "one in the file:          $first" "two, three in the file:   $second" | tr '\n' ' '
echo
[ "$first" = $'called\n[["one"], ["one"]]' ] && [ "$second" = '[["one"], ["two", "three"]]' ]
