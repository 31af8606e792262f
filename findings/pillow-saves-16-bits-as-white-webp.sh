#!/usr/bin/env bash
# What:     A 16-bit grey image (a scan, a depth map, an X-ray) is saved as WebP, and converted to L or RGB, by clipping every level above
#           255 to white, without an error or a warning; saving it as JPEG is refused, and `resize` keeps its levels.
# Versions: pillow 13.0.0.
# Expected: levels divided by 257, or an error as for JPEG.
# Seen:     levels 0, 200, 30000, 65535 become 0, 200, 255, 255: all but the darkest 0.4 % of the range is white.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
timeout 120 venv/bin/python - <<'PYTHON'
import sys

from PIL import Image

levels = (0, 200, 30000, 65535)
Image.frombytes("I;16", (4, 1), b"".join(level.to_bytes(2, "little") for level in levels)).save("scan.png")
scan = Image.open("scan.png")
scan.save("scan.webp", lossless=True)
seen = {
    "webp": list(Image.open("scan.webp").convert("L").tobytes()),
    "L": list(scan.convert("L").tobytes()),
    "RGB": list(scan.convert("RGB").tobytes()[::3]),
}
try:
    scan.save("scan.jpg")
    jpeg = "saved"
except OSError as error:
    jpeg = str(error)
print(scan.mode, seen, "JPEG:", jpeg)
clipped = [0, 200, 255, 255]
sys.exit(seen != {"webp": clipped, "L": clipped, "RGB": clipped} or not jpeg.startswith("cannot write mode I;16"))
PYTHON
