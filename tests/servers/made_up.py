"""Stand-ins for modules that need a GPU, so that the HTTP application of a server imports on any machine."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Meta(type):
    """Classes that have every attribute, and go into unions of types."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Meta(name, (Anything,), {})

    def __or__(cls, other: object) -> Any:
        return object

    __ror__ = __or__


class Anything(metaclass=_Meta):
    """A class, a function, a decorator that changes nothing: whatever the importing code makes of it."""

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        return args[0] if len(args) == 1 and not keywords and callable(args[0]) else super().__new__(cls)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        pass

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Meta(name, (Anything,), {})

    def __class_getitem__(cls, item: object) -> Any:
        return cls

    def __bool__(self) -> bool:
        return False


class _MadeUp(ModuleType):
    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Meta(name, (Anything,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        made_up = fullname.partition(".")[0] in self._names
        return ModuleSpec(fullname, self, is_package=True) if made_up else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _MadeUp(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has whatever is asked of it."""


def make_up(*names: str) -> None:
    """Let imports of these modules, and of all below them, find stand-ins."""
    sys.meta_path.append(_Finder(frozenset(names)))
