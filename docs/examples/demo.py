"""Three images on the embedded engine: made from words, edited, and started from another one.

    python docs/examples/demo.py [folder]

Works offline and without a key. With `STEP_BASE_URL` and `STEP_API_KEY` set, `Client()` in the place of
`Client(base_url="embedded")` does the same on a real server, and pays for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stepfun_async import Client, ImagesResponse, Size


def main(folder: Path) -> None:
    with Client(base_url="embedded") as client:
        lake = client.images.generate(
            "A serene alpine lake at sunset, mirror reflection",
            size=Size(width=1360, height=768),
            seed=1,
            save_to=folder / "1-lake",
            overwrite=True,
        )
        morning = client.images.edit(
            lake.image, "Make it a misty blue morning", seed=2, save_to=folder / "2-morning", overwrite=True
        )
        poster = client.images.image_to_image(
            morning.image,
            "A travel poster in flat colours",
            source_weight=0.6,
            size="16:10",
            seed=3,
            save_to=folder / "3-poster",
            overwrite=True,
        )
        for what, response in (("text to image", lake), ("edit", morning), ("image to image", poster)):
            print(line(what, response))
        spent = ", ".join(f"{amount} {currency}" for currency, amount in client.usage.spent.items())
        print(f"\nOn api.stepfun.ai these {client.usage.billed} calls would have cost {spent}.")
        print("They were drawn by the embedded engine, a stand-in for development: nothing was sent or charged.")


def line(what: str, response: ImagesResponse) -> str:
    """One result on one line."""
    image = response.image
    return f"{what:15} {image.width} x {image.height} {image.format}  {response.model:18} {image.path}"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pictures").resolve())
