"""What editors show of the methods of both clients, asked of pyright's language server as an editor asks it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import stepfun_async
from stepfun_async import AsyncClient, Client, Limits, RetryPolicy

METHODS = [
    "images.generate",
    "images.edit",
    "images.image_to_image",
    "images.download",
    "images.map",
    "models.list",
    "models.retrieve",
    "account.retrieve",
    "server.inspect",
]
CLIENTS = {"client": Client(base_url="embedded"), "waiting": AsyncClient(base_url="embedded")}
BEGINNING = """from stepfun_async import AsyncClient, Client
client = Client()
waiting = AsyncClient()
"""


class LanguageServer:
    """Pyright's, with one file open."""

    def __init__(self, folder: Path, text: str) -> None:
        self._file = folder / "program.py"
        settings = {"extraPaths": [str(Path(stepfun_async.__file__).parent.parent)], "pythonVersion": "3.11"}
        (folder / "pyrightconfig.json").write_text(json.dumps(settings))
        self._file.write_text(text)
        command = [sys.executable, "-c", "from pyright.langserver import entrypoint; entrypoint()", "--stdio"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)
        self._asked = 0
        root = {"uri": folder.as_uri(), "name": "program"}
        can = {"textDocument": {"hover": {"contentFormat": ["plaintext"]}}}
        self.ask("initialize", {"processId": None, "workspaceFolders": [root], "capabilities": can})
        self._send({"method": "initialized", "params": {}})
        opened = {"uri": self._file.as_uri(), "languageId": "python", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": opened}})

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._asked and "method" not in message:
                return message["result"]
            if "id" in message:  # the server asks for the editor's settings: all as they are
                settings: list[dict[str, Any]] = [{} for _ in (message.get("params") or {}).get("items", ())]
                self._send({"id": message["id"], "result": settings})

    def at(self, what: str, line: int, character: int) -> Any:
        place = {"line": line, "character": character}
        return self.ask(f"textDocument/{what}", {"textDocument": {"uri": self._file.as_uri()}, "position": place})

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the language server has ended"
        return json.loads(self._process.stdout.read(length))


CALLS = {
    "Client": inspect.signature(Client),
    "AsyncClient": inspect.signature(AsyncClient),
    **{
        f"{name}.{method}": inspect.signature(attrgetter(method)(client))
        for name, client in CLIENTS.items()
        for method in METHODS
    },
}
LINES = [(call, parameter) for call, signature in CALLS.items() for parameter in signature.parameters.values()]
"""A line of the program for each parameter, such as `client.images.generate(seed=1)`."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    program = "".join(f"{call}({parameter.name}=1)\n" for call, parameter in LINES)
    server = LanguageServer(tmp_path_factory.mktemp("editor"), BEGINNING + program)
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("call", CALLS)
def test_hover_and_signature_help_document_every_parameter_with_its_default(server: LanguageServer, call: str) -> None:
    for number, (name, parameter) in enumerate(LINES, BEGINNING.count("\n")):
        if name != call:
            continue
        where = f"{call}({parameter.name}=1)"
        shown = server.at("signatureHelp", number, len(where) - 2)
        [signature] = shown["signatures"]
        about = signature["parameters"][signature.get("activeParameter", shown.get("activeParameter"))]
        assert re.match(rf"{parameter.name}: \S", about["documentation"]["value"]), f"{where}\n{signature}"
        hover = server.at("hover", number, len(call) - 1)["contents"]["value"]
        assert re.search(rf"^ *{parameter.name}: \S", _documentation(hover), re.MULTILINE), f"{where}\n{hover}"
        if parameter.default is not inspect.Parameter.empty:
            default = _default(parameter)
            assert f"{parameter.name}: " in signature["label"], where
            assert f" = {default}" in signature["label"], f"{where}\n{signature}"
            assert f" = {default}" in hover, f"{where}\n{hover}"


def _default(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if isinstance(default, Limits | RetryPolicy):
        return f"DEFAULT_{parameter.name.upper()}"
    if isinstance(default, float):
        return f"{default:g}"
    return repr(default).replace("'", '"')


def _documentation(hover: str) -> str:
    """What follows the signature."""
    return hover.partition("\n\n")[2]
