#!/usr/bin/env bash
# What:     An animation that is opened and saved with `save_all=True` keeps the time of each frame as GIF and APNG; as WebP all frames get
#           the time of the first one, and as AVIF one millisecond. An animation that plays three times plays for ever as WebP and AVIF.
# Versions: pillow 13.0.0; the times are read again by Pillow and by OpenCV (opencv-python-headless 5.0.0.93, numpy 2.4.6).
# Expected: the times 300, 200 and 350 ms and the number of plays for each pair of formats, or an error.
# Seen:     from GIF, APNG, WebP and AVIF alike, to WebP: 300, 300, 300 ms, for ever; to AVIF: 1, 1, 1 ms. From WebP to APNG the
#           first frame gets 0 ms. No warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys

import cv2
from PIL import Image

frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
ENDINGS = ("gif", "png", "webp", "avif")


def played(name):
    """The times by Pillow and by OpenCV, and `loop` by Pillow."""
    times = []
    with Image.open(name) as image:
        loop = image.info.get("loop")
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            times.append(round(image.info["duration"]))
    _, animation = cv2.imreadanimation(name)
    return times, [int(time) for time in animation.durations], loop


seen = {}
for source in ENDINGS:
    frames[0].save(f"in.{source}", save_all=True, append_images=frames[1:], duration=[300, 200, 350], loop=3)
    for target in ENDINGS:
        with Image.open(f"in.{source}") as image:
            image.save(f"out.{target}", save_all=True)
        seen[source, target] = played(f"out.{target}")
        print(f"{source:4} to {target:4}", seen[source, target])
right = [300, 200, 350]
for source in ENDINGS:
    assert played(f"in.{source}")[:2] == (right, right), source
    assert seen[source, "gif"][0] == right
    assert seen[source, "png"][0] == ([0, 200, 350] if source == "webp" else right)
    assert seen[source, "webp"] == ([300] * 3, [300] * 3, 0)
    assert seen[source, "avif"] == ([1] * 3, [1] * 3, None)
    assert [seen[source, target][2] for target in ("gif", "png")] == ([None, 0] if source == "avif" else [3, 3])
PYTHON
