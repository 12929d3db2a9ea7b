"""svcs, without its adapters for web frameworks.

It imports those of all frameworks that are installed: half a second for each command and each child
process where FastAPI is. Here each comes when it is asked for.
"""

import importlib
import sys
from types import ModuleType
from typing import Any, Final

_ADAPTERS: Final = tuple(
    f"svcs.{framework}" for framework in ("aiohttp", "fastapi", "flask", "pyramid", "starlette")
)


def _import_alone() -> ModuleType:
    if "svcs" in sys.modules:
        return sys.modules["svcs"]
    # A name that is None there cannot be imported, which svcs takes for a framework that is not
    # installed.
    sys.modules.update(dict.fromkeys(_ADAPTERS))  # type: ignore[arg-type]
    try:
        module = importlib.import_module("svcs")
    finally:
        for name in _ADAPTERS:
            del sys.modules[name]
    vars(module)["__getattr__"] = _adapter
    return module


def _adapter(name: str) -> Any:
    """Import an adapter that somebody asks for as an attribute, as svcs's own documents do."""
    if f"svcs.{name}" in _ADAPTERS:
        return importlib.import_module(f"svcs.{name}")
    raise AttributeError(f"module 'svcs' has no attribute {name!r}")


_import_alone()

import svcs as svcs  # noqa: E402, PLC0414 (given on to all of our modules)
