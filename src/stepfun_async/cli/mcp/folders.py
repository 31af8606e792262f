"""The folders of the server: images are read from some and written to one, and nothing outside them is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from stepfun_async import InvalidRequestError, Problem
from stepfun_async._core.headers import EXTENSIONS
from stepfun_async._core.input_images import names_path
from stepfun_async._core.slugs import slug


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders in which images are read and written.

    Attributes:
        out: the folder that new images are saved to.
        readable: the folders that images may be read from, symbolic links resolved.
    """

    out: Path
    readable: tuple[Path, ...]

    @classmethod
    def of(cls, out: Path, readable: tuple[Path, ...]) -> Folders:
        """Return the folders; images are read from `out` if no other folder is named.

        Raises:
            InvalidRequestError: one of them is not there, or cannot be made.
        """
        try:
            out.mkdir(parents=True, exist_ok=True)
            return cls(out.resolve(strict=True), tuple(_folder(each) for each in readable or (out,)))
        except OSError as error:
            problem = Problem("out", str(out), "a folder that can be written to", error.strerror or str(error))
            raise InvalidRequestError.of("the command line", (problem,)) from error

    def resolve_paths(self, tool: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return `arguments` with every path in them as that of a file in a readable folder.

        Raises:
            InvalidRequestError: a path leads elsewhere, or to no file.
        """
        resolved = dict(arguments)
        if "image" in resolved:
            resolved["image"] = self._file(tool, "image", resolved["image"])
        style = resolved.get("style_reference")
        if isinstance(style, Mapping) and "source_url" in style:
            parts = cast("Mapping[str, object]", style)
            source = self._file(tool, "style_reference.source_url", parts["source_url"])
            resolved["style_reference"] = {**parts, "source_url": source}
        return resolved

    def _file(self, tool: str, field: str, given: object) -> object:
        """Return the file that `given` names; anything that names none as it is."""
        if not isinstance(given, str) or not names_path(given):
            return given
        try:
            found = next(path for path in self._candidates(given) if path.is_file() and self._may_read(path))
        except (
            StopIteration,
            OSError,
            ValueError,
            RuntimeError,
        ):  # the last three: NUL, a name too long, a loop of links
            allowed = f"the path of a file in {' or '.join(map(str, self.readable))}"
            why = "there is no such file in the folders that this server may read"
            raise InvalidRequestError.of(tool, (Problem(field, given, allowed, why),)) from None
        return found

    def _candidates(self, given: str) -> list[Path]:
        """Return where a path may lead, symbolic links resolved: from each readable folder, if it is relative."""
        return [(folder / given).resolve() for folder in self.readable]

    def _may_read(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.readable)

    def new_stem(self, prompt: str, taken: set[Path]) -> Path:
        """Return a file name made from `prompt`, without extension, that no image has and that is not in `taken`."""
        name = slug(prompt)
        number = 1
        while True:
            stem = self.out / (name if number == 1 else f"{name}-{number}")
            if stem not in taken and not any(Path(f"{stem}{end}").exists() for end in EXTENSIONS.values()):
                return stem
            number += 1


def _folder(path: Path) -> Path:
    """Return a folder, symbolic links resolved.

    Raises:
        InvalidRequestError: there is none.
    """
    if not path.is_dir():
        problem = Problem("read_folder", str(path), "a folder")
        raise InvalidRequestError.of("the command line", (problem,))
    return path.resolve(strict=True)
