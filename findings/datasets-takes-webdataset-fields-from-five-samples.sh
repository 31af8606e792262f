#!/usr/bin/env bash
# What:     `load_dataset("webdataset")` takes the fields of samples, and the types in their JSON, from the first five samples. What comes later is
#           fitted to that in silence: a key of the JSON and a file of the sample that the first five lack are dropped, and 2.5 becomes 2 where
#           they have whole numbers.
# Version:  datasets 5.2.0 (webdataset 1.0.2 gives every sample as it is).
# Expected: all fields, or an error where one does not fit.
# Seen:     eight rows, the last of which is {"n": 7, "scale": 2}, from {"n": 7, "scale": 2.5, "late": "x"} in the shard.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 webdataset==1.0.2
timeout 300 venv/bin/python - <<'PYTHON'
import io, json, sys, tarfile

import datasets
import webdataset

datasets.disable_progress_bars()
with tarfile.open("00000.tar", "w") as shard:
    for number in range(8):
        late = number >= 5
        told = {"n": number, "scale": 2.5 if late else 2} | ({"late": "x"} if late else {})
        files = {"json": json.dumps(told), "txt": "a prompt"} | ({"note.txt": "y"} if late else {})
        for ending, text in files.items():
            info = tarfile.TarInfo(f"{number:06}.{ending}")
            info.size = len(text)
            shard.addfile(info, io.BytesIO(text.encode()))

table = datasets.load_dataset("webdataset", data_files="00000.tar", split="train")
last = table[-1]
*_, whole = webdataset.WebDataset("00000.tar", shardshuffle=False).decode()
print(f"datasets {datasets.__version__}: {last['json']}, fields {[name for name in table.column_names if name[0] != '_']}")
print("webdataset:", whole["json"], sorted(name for name in whole if name[0] != "_"))
sys.exit(not (last["json"] == {"n": 7, "scale": 2} and "note.txt" not in table.column_names and whole["json"]["scale"] == 2.5))
PYTHON
