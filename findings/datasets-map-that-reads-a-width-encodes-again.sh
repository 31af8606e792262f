#!/usr/bin/env bash
# What:     A function for `dataset.map` that only reads `row["image"].width` and returns `{"width": ...}` changes the images all the same:
#           those held as bytes are encoded anew, JPEG with Pillow's quality of 75, and photos with an orientation become PNG.
# Versions: datasets 5.2.0, pillow 13.0.0.
# Expected: a new column beside images whose bytes are as before, as they are when the function does not look at the image.
# Seen:     a JPEG of quality 95 has less than half of its bytes afterwards, and other pixels; the one with an orientation is a PNG of more
#           than twice the size, without EXIF. A PNG stays as it is. After `cast_column("image", Image(decode=False))` all do.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
HF_HOME="$work/home" HF_HUB_OFFLINE=1 timeout 300 venv/bin/python - <<'PYTHON'
import io

import datasets
from PIL import Image, ImageChops

datasets.disable_progress_bars()
exif = Image.Exif()
exif[0x0112] = 6
picture = Image.merge("RGB", [Image.effect_noise((400, 300), 60) for _ in "rgb"])


def encoded(kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


before = {"jpeg": encoded("JPEG", quality=95), "png": encoded("PNG"), "turned": encoded("JPEG", quality=95, exif=exif)}
rows = {"image": [{"path": None, "bytes": file} for file in before.values()], "name": list(before)}
features = datasets.Features({"image": datasets.Image(), "name": datasets.Value("string")})
dataset = datasets.Dataset.from_dict(rows, features=features)


def files_of(mapped):
    raw = mapped.cast_column("image", datasets.Image(decode=False))
    return {row["name"]: row["image"]["bytes"] for row in raw}


def kind(file):
    return Image.open(io.BytesIO(file)).format


untouched = files_of(dataset.map(lambda row: {"letters": len(row["name"])}))
after = files_of(dataset.map(lambda row: {"width": row["image"].width}))
for name, file in after.items():
    print(f"{name:7} {kind(before[name])} of {len(before[name])} bytes before, {kind(file)} of {len(file)} bytes after")
assert untouched == before
assert kind(after["jpeg"]) == "JPEG"
assert len(after["jpeg"]) < len(before["jpeg"]) / 2
change = ImageChops.difference(*(Image.open(io.BytesIO(files["jpeg"])) for files in (before, after)))
print("the largest change of a pixel of the JPEG:", max(high for _, high in change.getextrema()))
assert change.getbbox() is not None
assert kind(after["turned"]) == "PNG"
assert len(after["turned"]) > 2 * len(before["turned"])
assert not Image.open(io.BytesIO(after["turned"])).getexif()
raw = files_of(dataset.cast_column("image", datasets.Image(decode=False)).map(lambda row: {"bytes": len(row["image"]["bytes"])}))
assert raw == before
PYTHON
