#!/usr/bin/env bash
# What:     `load_dataset("imagefolder")` drops the images that its metadata file does not name: of a folder of three images whose prompts for two are
#           known so far, the third is gone, without a word. Without the metadata file, or with `drop_metadata=True`, all three are there. An image that is
#           named twice comes twice.
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: three rows, the third with the prompt None, as for a missing label or a missing key; or an error.
# Seen:     three PNGs; metadata.jsonl with a prompt for two of them: 2 rows, also in streaming. `drop_metadata=True`: 3 rows.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/cache" timeout 120 venv/bin/python - 2>errors <<'PYTHON' || { tail -5 errors; exit 1; }
import json
import pathlib
import sys

import datasets
from PIL import Image

datasets.disable_progress_bars()
logged = []
handler = datasets.logging.logging.Handler()
handler.emit = lambda record: logged.append(record.getMessage())
datasets.logging.get_logger().addHandler(handler)
folder = pathlib.Path("photos")
folder.mkdir()
for number in range(3):
    Image.new("RGB", (8, 8), (100 * number, 0, 0)).save(folder / f"{number}.png")


def rows(**options):
    return len(list(datasets.load_dataset("imagefolder", data_dir="photos", split="train", **options)))


def named(*names):
    (folder / "metadata.jsonl").write_text("".join(json.dumps({"file_name": name, "prompt": "a lake"}) + "\n" for name in names))


seen = {"no metadata": rows()}
named("0.png", "1.png")
seen |= {"two named": rows(), "two named, streaming": rows(streaming=True), "two named, drop_metadata=True": rows(drop_metadata=True)}
named("0.png", "0.png", "1.png", "2.png")
seen["one named twice"] = rows()
for name, count in seen.items():
    print(f"{name:31}{count} rows")
print("logged:", [line for line in logged if "png" in line or "metadata" in line])
sys.exit(list(seen.values()) != [3, 2, 2, 3, 4])
PYTHON
