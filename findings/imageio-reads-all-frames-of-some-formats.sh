#!/usr/bin/env bash
# What:     `imageio.v3.imread` of an animation gives all frames of a GIF and of a PNG, and only the first one of a WebP and of an AVIF. A GIF
#           of a single frame has four dimensions, too. So has what `skimage.io.imread` gives, which reads through imageio.
# Versions: imageio 2.38.1, scikit-image 0.26.0, pillow 13.0.0, numpy 2.4.6.
# Expected: the first frame of each, or all frames of each.
# Seen:     3 frames of 32x32: (3, 32, 32, 3) for GIF and PNG, (32, 32, 3) for WebP and AVIF; the GIF of one frame (1, 32, 32, 3).
#           `index=...` gives all frames of all four, `index=0` the first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check imageio==2.38.1 scikit-image==0.26.0 pillow==13.0.0 numpy==2.4.6
timeout 120 venv/bin/python - <<'PYTHON'
import sys

import imageio.v3
import skimage.io
from PIL import Image

frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
for ending in ("gif", "png", "webp", "avif"):
    frames[0].save(f"three.{ending}", save_all=True, append_images=frames[1:], duration=100)
frames[0].save("one.gif")
frames[0].save("one.webp")
seen = {}
for name in ("three.gif", "three.png", "three.webp", "three.avif", "one.gif", "one.webp"):
    read = imageio.v3.imread
    seen[name] = read(name).shape, skimage.io.imread(name).shape, read(name, index=...).shape, read(name, index=0).shape
    print(f"{name:11} imageio, skimage, index=..., index=0:", *seen[name])
one, three = (32, 32, 3), (3, 32, 32, 3)
wanted = {f"three.{ending}": (three, three, three, one) for ending in ("gif", "png")}
wanted |= {f"three.{ending}": (one, one, three, one) for ending in ("webp", "avif")}
wanted |= {"one.gif": ((1, *one), (1, *one), (1, *one), one), "one.webp": (one, one, (1, *one), one)}
sys.exit(seen != wanted)
PYTHON
