"""Take along the package's files that are no modules: those of the report's page."""  # noqa: N999 - PyInstaller's name

from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
_FILES = (path for path in _PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))

datas = [(str(path), str(path.parent.relative_to(_PACKAGE.parent))) for path in _FILES]
