#!/usr/bin/env bash
# What:     `Image.open("photo.jpg").save(...)` keeps the colour profile in PNG, AVIF and TIFF, and drops it without a word in JPEG, WebP
#           and JPEG 2000, so that a Display P3 photo that was only opened and saved again changes its colours, or does not, by the
#           ending of the name. Orientation is dropped by all.
# Versions: pillow 13.0.0.
# Expected: one rule for all formats that can have a profile.
# Seen:     kept: PNG, AVIF, TIFF. Dropped: JPEG, WebP, JPEG 2000.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
timeout 120 venv/bin/python - <<'PYTHON'
import io
import sys

from PIL import Image, ImageCms

profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # stands for that of a camera
Image.effect_noise((120, 80), 50).convert("RGB").save("photo.jpg", icc_profile=profile)
kept = {}
for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "JPEG2000"):
    file = io.BytesIO()
    Image.open("photo.jpg").save(file, kind)
    with Image.open(file) as again:
        again.load()
        kept[kind] = "icc_profile" in again.info
print(kept)
sys.exit(kept != {"JPEG": False, "PNG": True, "WEBP": False, "AVIF": True, "TIFF": True, "JPEG2000": False})
PYTHON
