"""Draws the package in docs/contributing.md from its code: its rooms, and the path of a call (`make docs`)."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import anyio

from stepfun_async import AsyncClient
from stepfun_async._transport.asyncio_socket import AsyncioSocket
from stepfun_async.embedded import Engine
from stepfun_async.embedded.server import running

from .tables import ROOT, between

PACKAGE = ROOT / "src" / "stepfun_async"
_ROOMS, _ROOMS_END = "<!-- rooms: drawn from the code by `make docs` -->", "<!-- end of rooms -->"
_PATH, _PATH_END = "<!-- path: traced by `make docs` -->", "<!-- end of path -->"


def pages() -> dict[Path, str]:
    """The page with the drawing and the trace, as the code has them."""
    page = ROOT / "docs" / "contributing.md"
    drawn = between(page.read_text(), _ROOMS, _ROOMS_END, drawing(imports_by_room()))
    return {page: between(drawn, _PATH, _PATH_END, path_of_a_call())}


def imports_by_room() -> dict[str, frozenset[str]]:
    """Every entry of the package's root, with the entries that its modules import."""
    public = dict(_public_names())
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found.setdefault(parts[0], set()).update(_imported(path, parts[:-1], public))
    return {room: frozenset(used & found.keys() - {room}) for room, used in found.items()}


def _public_names() -> Iterator[tuple[str, str]]:
    """The public names of the package, each with the room it comes from."""
    for node in _import_statements(PACKAGE / "__init__.py"):
        if node.level and node.module:
            yield from ((alias.name, node.module.split(".")[0]) for alias in node.names)


def _imported(path: Path, package: tuple[str, ...], public: Mapping[str, str]) -> Iterator[str]:
    """The rooms that the module at `path`, in `package`, imports from."""
    for node in _import_statements(path):
        named = tuple(node.module.split(".")) if node.module else ()
        if node.level:
            named = (*package[: len(package) - node.level + 1], *named)
        elif named[:1] == (PACKAGE.name,):
            named = named[1:]
        else:
            continue
        if named:
            yield named[0]
        else:
            yield from (public.get(alias.name, alias.name) for alias in node.names)


def _import_statements(path: Path) -> Iterator[ast.ImportFrom]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))


def floors(imports: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """The rooms by floor, the top floor first: each room stands one above the highest that it imports."""
    heights: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            raise ValueError(f"rooms import each other in a circle: {' > '.join((*above, room))}")
        if room not in heights:
            heights[room] = 1 + max((height(below, (*above, room)) for below in imports[room]), default=-1)
        return heights[room]

    top = max(map(height, imports))
    return [[room for room in imports if heights[room] == floor] for floor in range(top, -1, -1)]


def drawing(imports: Mapping[str, frozenset[str]]) -> str:
    """The floors as a picture, and a table of what lives in each room and what it imports."""
    plan = floors(imports)
    picture = "\n".join(
        f"{number}  {'   '.join(rooms)}" for number, rooms in zip(range(len(plan) - 1, -1, -1), plan, strict=True)
    )
    table = "\n".join(_row(room, imports[room]) for floor in plan for room in floor)
    arrows = sum(map(len, imports.values()))
    return (
        f"```text\n{picture}\n```\n\n"
        f"{len(imports)} rooms on {len(plan)} floors; {arrows} imports between rooms, all of them downwards.\n\n"
        f"| room | what lives there | imports |\n|---|---|---|\n{table}"
    )


def _row(room: str, imports: frozenset[str]) -> str:
    below = ", ".join(f"`{name}`" for name in sorted(imports)) or "nothing of the package"
    return f"| `{room}` | {_summary(room)} | {below} |"


def _summary(room: str) -> str:
    """The first paragraph of a room's docstring."""
    folder = PACKAGE / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def path_of_a_call() -> str:
    """The functions on the stack when `generate()` hands its request to the socket, the outermost first."""
    steps = anyio.run(_traced)
    return "\n".join(f"{number}. `{module}`: `{function}`" for number, (module, function) in enumerate(steps, 1))


async def _traced() -> list[tuple[str, str]]:
    steps: list[tuple[str, str]] = []
    send = AsyncioSocket.send_request

    async def spy(self: AsyncioSocket, data: bytes, on_sent: Callable[[], object], *, reused: bool) -> None:
        if not steps:
            steps.extend(_stack())
        await send(self, data, on_sent, reused=reused)

    AsyncioSocket.send_request = spy  # type: ignore[method-assign]
    try:
        with running(Engine(plain=True)) as url:
            async with AsyncClient("any-key", base_url=url) as client:
                await client.images.generate("A lake")
    finally:
        AsyncioSocket.send_request = send  # type: ignore[method-assign]
    return [*steps, ("_transport.asyncio_socket", send.__qualname__)]


def _stack() -> list[tuple[str, str]]:
    """The package's functions that run in this thread, the outermost first."""
    steps: list[tuple[str, str]] = []
    frame = inspect.currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            steps.append((module, frame.f_code.co_qualname))
        frame = frame.f_back
    return steps[::-1]


if __name__ == "__main__":
    for changed, text in pages().items():
        changed.write_text(text)
