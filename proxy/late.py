"""Modules that are loaded when something of them is needed first, so that a gate pays only for what it does.

They are named beside the imports of a file, where ``tests/test_map.py`` reads each as one of these:

    if TYPE_CHECKING:
        from rich import table
    else:
        table = late("rich.table")

To load a large one takes tenths of a second. Whoever may be the first to need it while calls go on waits for ``ready``.
Whoever knows at the start that it will be needed says ``load``.
"""

import asyncio
import gc
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Late:
    """What stands in for a module."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(_loaded(self), name)

    def __repr__(self) -> str:
        return f"<late module {self._name!r}>"


def late(name: str) -> Any:
    """Stands in for the module of this name, which the first look at anything in it loads. Only then ImportError."""
    return _Late(name)


async def ready(*modules: Any) -> None:
    """Have what ``late`` gave loaded in a thread, while the loop goes on. Raises ImportError."""
    if any(one._module is None for one in modules):
        await asyncio.to_thread(load, *modules)


def load(*modules: Any) -> None:
    """Have what ``late`` gave loaded from here on. Raises ImportError."""
    for one in modules:
        _loaded(one)


def parts_of(name: str) -> None:
    """Let the modules of a package, which is not loaded yet, be imported without all that it would bring along.

    It brings that once anything else is looked for in it, so that whoever needs it whole has it so. ImportError where
    there is no such package.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or name in sys.modules:
        raise ImportError(f"{name} is loaded, or there is no such package.")
    package, loader, lock = importlib.util.module_from_spec(spec), spec.loader, threading.RLock()
    found: set[str] = set()

    def missing(wanted: str) -> Any:
        if wanted == "__version__":  # Its modules may say it to others; what the package brings along says it there.
            return importlib.metadata.version(name)
        if wanted.startswith("__") or importlib.util.find_spec(f"{name}.{wanted}") is not None:
            raise AttributeError(wanted)  # Python imports it then, where it was to be imported.
        with lock:
            if not found:
                found.add(wanted)
                loader.exec_module(package)
        try:
            return vars(package)[wanted]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {wanted!r}") from None

    vars(package)["__getattr__"] = missing
    sys.modules[name] = package


@contextmanager
def without(name: str) -> Iterator[None]:
    """Whatever is loaded in the block finds no module of this name, as if it were not installed."""
    before = {one: sys.modules.pop(one) for one in [name] if one in sys.modules}
    sys.modules[name] = None  # type: ignore[assignment]  # It is what makes Python say that there is none.
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


def _loaded(one: _Late) -> ModuleType:
    if one._module is None:
        with _no_garbage():
            one._module = importlib.import_module(one._name)
    return one._module


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Nothing that is being loaded is garbage, and all of it stays: to go through it is in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
