"""README.md as the package's page shows it: a metadata hook of hatchling, which builds the package.

Links of README lead to files beside it, which a package's page does not have. The setting `home` of this hook in
pyproject.toml is where the repository's files are on the web. Links and images are made absolute with it. While it
is empty, links become their words, and images are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")

_PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n\n(?:\*[^*\n][^\n]*\*\n\n)?", re.MULTILINE)
"""An image in a paragraph of its own, with its caption."""


class Readme(MetadataHookInterface):
    """Sets the package's description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Take README.md with its links made absolute."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        settings = cast("dict[str, str]", self.config)  # pyright: ignore[reportUnknownMemberType]
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, settings.get("home", ""))}


def absolute(text: str, home: str) -> str:
    """Return `text` with its links into the repository leading to `home`, or without them where that is empty."""

    if not home:
        text = _PICTURE.sub("", text)

    def link(found: re.Match[str]) -> str:
        image, words, target = found.groups()
        if home:
            return f"{image}[{words}]({home}/{target}{'?raw=true' if image else ''})"
        return "" if image else words

    return _LINK.sub(link, text)
