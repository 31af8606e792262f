#!/usr/bin/env bash
# What:     `Image.open("grey.jpg").convert("RGB").save("out.png")` writes the profile of grey levels into the RGB PNG, which the PNG
#           specification forbids (it has to match the colour type): `info` goes along with every conversion, and PNG takes the profile
#           from there unasked. Pillow's own ImageCms then refuses the file; libpng warns and ignores the profile.
# Versions: pillow 13.0.0.
# Expected: the profile is left out, or converted, where the colour space changes.
# Seen:     an iCCP chunk with a profile whose colour space is GRAY in a PNG of colour type 2; PyCMSError: cannot build transform.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
timeout 120 venv/bin/python - <<'PYTHON'
import io
import struct
import sys

from PIL import Image, ImageCms


def grey_profile():
    """A profile of grey levels with a gamma of 1."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    parts = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79),
        b"wtpt": white,
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, 256, 0),
    }
    at, table, body = 128 + 4 + 12 * len(parts), struct.pack(">I", len(parts)), b""
    for kind, content in parts.items():
        table += kind + struct.pack(">II", at + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = bytes(8) + bytes([2, 16, 0, 0]) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    head = (head + struct.pack(">iii", 63190, 65536, 54061)).ljust(128, b"\0")
    return struct.pack(">I", at + len(body)) + head[4:] + table + body


def to_srgb(image):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    try:
        ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        return str(error)
    return "fine"


Image.linear_gradient("L").save("grey.jpg", icc_profile=grey_profile())
grey = Image.open("grey.jpg")
grey.convert("RGB").save("out.png")
out = Image.open("out.png")
space = out.info["icc_profile"][16:20]
print("grey.jpg:", grey.mode, to_srgb(grey), "| out.png:", out.mode, space, to_srgb(out))
sys.exit((out.mode, space, to_srgb(grey)) != ("RGB", b"GRAY", "fine") or to_srgb(out) == "fine")
PYTHON
