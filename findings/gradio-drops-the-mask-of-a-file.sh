#!/usr/bin/env bash
# What:     `gr.Image(type="filepath")` gives a function the path of a file with the name that was uploaded, and not the file: an RGBA or grey PNG was
#           encoded anew as RGB, so that a mask in the alpha channel is gone. A picture that a function returns as an object comes out as WebP of
#           Pillow's quality of 80, whatever it was; one that it returns as a path comes out as it is.
# Versions: gradio 6.31.0 with gradio_client 2.7.2 and pillow 12.3.0.
# Expected: the bytes that were uploaded, as `gr.File` gives them; and a PNG, or any lossless file, of what is in memory.
# Seen:     in: RGB PNG and JPEG byte for byte; RGBA PNG: RGB, other bytes; `image_mode=None`: byte for byte. Out: PIL image WEBP with other pixels, by
#           path PNG with the same. `format="png"` gives the same pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gradio==6.31.0 gradio_client==2.7.2 pillow==12.3.0
export GRADIO_ANALYTICS_ENABLED=False HF_HUB_OFFLINE=1 GRADIO_TEMP_DIR="$work/tmp" NO_PROXY=127.0.0.1
timeout 180 venv/bin/python - <<'PYTHON'
import os
import pathlib
import socket
import sys

import gradio
import numpy
from gradio_client import Client, handle_file
from PIL import Image

with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
colours = numpy.random.default_rng(1).integers(0, 256, (64, 64, 3), numpy.uint8)
picture = Image.fromarray(colours)
hole = picture.copy()
hole.putalpha(Image.new("L", (64, 64), 0))
picture.save("rgb.png")
picture.save("rgb.jpg")
hole.save("rgba.png")
picture.convert("L").save("grey.png")


def received(path):
    with Image.open(path) as image:
        same = pathlib.Path(path).read_bytes() == pathlib.Path(os.path.basename(path)).read_bytes()
        return f"{image.mode}, {'the same bytes' if same else 'other bytes'}"


with gradio.Blocks() as demo:
    text = gradio.Textbox()
    for name, options in (("default", {}), ("none", {"image_mode": None})):
        gradio.Button().click(received, gradio.Image(type="filepath", **options), text, api_name=name)
    image, png = gradio.Image(), gradio.Image(format="png")
    gradio.Button().click(lambda: picture, None, image, api_name="object")
    gradio.Button().click(lambda: picture, None, png, api_name="object_as_png")
    gradio.Button().click(lambda: "rgb.png", None, image, api_name="path")
demo.launch(prevent_thread_lock=True, server_name="127.0.0.1", server_port=port, quiet=True)
client = Client(f"http://127.0.0.1:{port}", verbose=False)
seen = {}
for name in ("rgb.png", "rgb.jpg", "rgba.png", "grey.png"):
    seen["in", name] = client.predict(handle_file(name), api_name="/default")
seen["in", "rgba.png, image_mode=None"] = client.predict(handle_file("rgba.png"), api_name="/none")
for name in ("object", "object_as_png", "path"):
    result = client.predict(api_name=f"/{name}")
    with Image.open(result if isinstance(result, str) else result["path"]) as came:
        same = (numpy.asarray(came.convert("RGB")) == colours).all()
        seen["out", name] = f"{came.format}, {'the same pixels' if same else 'other pixels'}"
demo.close()
for (way, name), found in seen.items():
    print(f"{way:4}{name:27}{found}")
expected = {
    ("in", "rgb.png"): "RGB, the same bytes",
    ("in", "rgb.jpg"): "RGB, the same bytes",
    ("in", "rgba.png"): "RGB, other bytes",
    ("in", "grey.png"): "RGB, other bytes",
    ("in", "rgba.png, image_mode=None"): "RGBA, the same bytes",
    ("out", "object"): "WEBP, other pixels",
    ("out", "object_as_png"): "PNG, the same pixels",
    ("out", "path"): "PNG, the same pixels",
}
sys.stdout.flush()
os._exit(seen != expected)
PYTHON
