#!/usr/bin/env bash
# What:     `dataset.map` over a folder of images loses what its function changes in place (`thumbnail`, `paste`, drawing): for a picture
#           that was opened from a path, `datasets` stores that path again, and not the picture. A photo that has an orientation is kept as
#           changed, since turning it makes a copy without a path; so are images held as bytes, and all images in streaming.
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: the pictures that the function returned: 100x75, as `resize` gives them.
# Seen:     `row["image"].thumbnail((100, 100)); return row`, for three photos of 400x300 of which the last has an orientation: 400x300,
#           400x300 and 75x100. From bytes and in streaming: 100x75, 100x75 and 75x100. No warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
HF_HOME="$work/home" HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - <<'PYTHON'
import pathlib
import sys

import datasets
from PIL import Image

datasets.disable_progress_bars()
folder = pathlib.Path("photos")
folder.mkdir()
exif = Image.Exif()
exif[0x0112] = 6
Image.new("RGB", (400, 300), "teal").save(folder / "a.jpg")
Image.new("RGB", (400, 300), "teal").save(folder / "b.png")
Image.new("RGB", (400, 300), "teal").save(folder / "c.jpg", exif=exif)


def thumbnail(row):
    row["image"].thumbnail((100, 100))
    return row


def resize(row):
    width, height = row["image"].size
    return {"image": row["image"].resize((width // 4, height // 4))}


files = datasets.load_dataset("imagefolder", data_dir="photos", split="train")
held = [{"path": None, "bytes": path.read_bytes()} for path in sorted(folder.iterdir())]
in_bytes = datasets.Dataset.from_dict({"image": held}, features=files.features)
ways = {
    "thumbnail, from files": files.map(thumbnail),
    "thumbnail, from bytes": in_bytes.map(thumbnail),
    "thumbnail, in streaming": files.to_iterable_dataset().map(thumbnail),
    "resize, from files": files.map(resize),
}
seen = {way: [row["image"].size for row in rows] for way, rows in ways.items()}
for way, sizes in seen.items():
    print(f"{way:25}", sizes)
lost = seen.pop("thumbnail, from files") == [(400, 300), (400, 300), (75, 100)]
sys.exit(not lost or any(sizes != [(100, 75), (100, 75), (75, 100)] for sizes in seen.values()))
PYTHON
