#!/usr/bin/env bash
# What:     `Dataset.to_parquet` of a folder of images writes their absolute paths and no image; `save_to_disk` writes the images. So the Parquet
#           file is read on the machine that wrote it, and nowhere else, nor after the folder was moved.
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: the images in the file, as `save_to_disk` has them and as Parquet files of images on the Hub do.
# Seen:     3 PNGs of 360 KB: a Parquet file of less than 4 KB, whose rows have `bytes` null and an absolute `path`; more than 1 MB by
#           `save_to_disk`. Read after the folder was moved: FileNotFoundError from Parquet, all 3 images from the disk.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
HF_HOME="$work/home" HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - <<'PYTHON'
import pathlib

import datasets
import pyarrow.parquet
from PIL import Image

datasets.disable_progress_bars()
folder = pathlib.Path("photos").absolute()
folder.mkdir()
for name in "abc":
    Image.merge("RGB", [Image.effect_noise((400, 300), 60) for _ in "rgb"]).save(folder / f"{name}.png")

written = datasets.load_dataset("imagefolder", data_dir="photos", split="train")
written.to_parquet("photos.parquet")
written.save_to_disk("saved")
folder.rename("moved")
rows = pyarrow.parquet.read_table("photos.parquet")["image"].to_pylist()
parquet = pathlib.Path("photos.parquet").stat().st_size
saved = sum(file.stat().st_size for file in pathlib.Path("saved").iterdir())
print(f"{parquet} bytes of Parquet, {saved} by save_to_disk; of the rows: bytes {rows[0]['bytes']}, path absolute:", rows[0]["path"].startswith("/"))
assert parquet < 4_000
assert saved > 1_000_000
assert [(row["bytes"], row["path"]) for row in rows] == [(None, str(folder / f"{name}.png")) for name in "abc"]
print("from the disk:", [row["image"].size for row in datasets.load_from_disk("saved")])
try:
    datasets.load_dataset("parquet", data_files="photos.parquet", split="train")[0]
except FileNotFoundError as error:
    print("from Parquet: FileNotFoundError:", error.strerror)
else:
    raise SystemExit("the image was read")
PYTHON
