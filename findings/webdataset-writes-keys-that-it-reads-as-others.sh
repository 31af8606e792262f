#!/usr/bin/env bash
# What:     `TarWriter` takes a `__key__` with a dot in it, such as `lake-cfg7.5`, and `WebDataset` ends the key at the first dot when it reads
#           the file again: samples that differ only behind it become one sample, with fields `5.png` and `0.png`.
# Versions: webdataset 1.0.2; read with datasets 5.2.0 too (pillow 13.0.0).
# Expected: three samples, as they were written, or an error from the writer.
# Seen:     of three samples one, with six fields, by both. With `-` in place of the dot: three with two fields.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check webdataset==1.0.2 datasets==5.2.0 pillow==13.0.0
HF_HOME="$work/home" HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - <<'PYTHON'
import sys

import datasets
import webdataset
from PIL import Image

datasets.disable_progress_bars()
picture = Image.new("RGB", (8, 8), "teal")


def again(name, keys):
    """What is read of samples with these keys: key and fields, by webdataset and by datasets."""
    with webdataset.TarWriter(name) as writer:
        for key in keys:
            writer.write({"__key__": key, "png": picture, "txt": key})
    samples = list(webdataset.WebDataset(name, shardshuffle=False))
    rows = list(datasets.load_dataset("webdataset", data_files={"train": name}, split="train"))
    return [[(each["__key__"], sorted(field for field in each if not field.startswith("__"))) for each in read] for read in (samples, rows)]


dots = again("dots.tar", ["lake-cfg6.0", "lake-cfg6.5", "lake-cfg6.7"])
dashes = again("dashes.tar", ["lake-cfg6-0", "lake-cfg6-5", "lake-cfg6-7"])
for name, found in (("dots", dots), ("dashes", dashes)):
    print(name, *found, sep="\n  ")
one = [("lake-cfg6", ["0.png", "0.txt", "5.png", "5.txt", "7.png", "7.txt"])]
three = [(f"lake-cfg6-{part}", ["png", "txt"]) for part in (0, 5, 7)]
sys.exit(dots != [one, one] or dashes != [three, three])
PYTHON
