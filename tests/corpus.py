"""Compare the package's verdict on every file of a folder with Pillow's, through every door: `make pictures`.

    python -m tests.corpus FOLDER

Prints each disagreement, and the sums. A file that Pillow reads and the package refuses, or reads otherwise, is a
fault: the exit status is 1 then. One that is broken inside and passes is none, since only its end is looked for. Files
are only read.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as pillow
from PIL import ImageOps

from stepfun_async._core.input_images import MAX_PIXELS, InputImage, load_image

from .support.doors import DOORS, pillows_verdict

FAULT, PASSED = "refused or read otherwise than by Pillow", "broken inside, and taken"

_LARGEST = 256 * 1024 * 1024
"""Bytes of the largest file that is looked at."""


def disagreements(data: bytes, folder: Path) -> Iterator[tuple[str, str]]:
    """What is seen of a file through the doors that Pillow does not see: a kind and a line for each verdict.

    Args:
        data: the file.
        folder: for a copy of it.
    """
    verdict = pillows_verdict(data)
    if verdict is not None and verdict[1] * verdict[2] > MAX_PIXELS:
        return
    doors: defaultdict[object, list[str]] = defaultdict(list)
    for name, door in DOORS.items():
        doors[_seen(door(data, folder))].append(name)
    for seen, names in doors.items():
        through = "every door" if len(doors) == 1 else ", ".join(names)
        if verdict is not None and seen != (*verdict, True):
            yield FAULT, f"Pillow has {verdict}, the package {seen} through {through}"
        if verdict is None and isinstance(seen, tuple) and seen[-1] and seen[0] != "gif":
            yield PASSED, f"Pillow cannot decode it, the package takes it for a whole {seen[0]} through {through}"
    if verdict is not None:
        yield from ((FAULT, line) for line in _as_image(data))


def _seen(value: object) -> tuple[str, int, int, int, bool] | str:
    loaded = load_image(value)
    if isinstance(loaded, InputImage):
        return loaded.format, loaded.width, loaded.height, loaded.orientation, loaded.complete
    return getattr(loaded, "why", str(loaded))


def _as_image(data: bytes) -> Iterator[str]:
    """What of an image in memory is not as the one of the file."""
    with pillow.open(io.BytesIO(data)) as image, pillow.open(io.BytesIO(data)) as other:
        loaded = load_image(image)
        size = ImageOps.exif_transpose(other).size
    if not isinstance(loaded, InputImage):
        yield f"PIL: {getattr(loaded, 'why', loaded)}"
    elif (loaded.width, loaded.height, loaded.orientation, loaded.complete) != (*size, 1, True):
        yield f"PIL: Pillow shows {size[0]}x{size[1]}, what is sent has {loaded.width}x{loaded.height}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder, whose files are looked at with those of its folders")
    corpus = parser.parse_args(arguments).folder
    if not corpus.is_dir():
        parser.error(f"{str(corpus)!r} is no folder: make pictures CORPUS=folder")
    warnings.simplefilter("ignore")  # what Pillow says of odd files
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(path for path in corpus.rglob("*") if path.is_file() and path.stat().st_size <= _LARGEST):
            found = list(disagreements(path.read_bytes(), Path(folder)))
            counts["files"] += 1
            counts.update({kind for kind, _ in found})
            for _, line in found:
                print(f"{path.relative_to(corpus)}: {line}")
    print(", ".join(f"{name}: {count:,}" for name, count in counts.items()))
    return 1 if counts[FAULT] else 0


if __name__ == "__main__":
    sys.exit(main())
