"""Where a child process finds the application: by the names under which it can be imported.

Functions do not travel. The worker looks up the name of each thing that a child needs, and the
child imports it, as Python's own child processes do.
"""

import importlib
import runpy
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from milepost.errors import ConfigurationError
from milepost.jobs.registry import AnyDefinition
from milepost.services import svcs

CompleteServices = Callable[[svcs.Registry | None], svcs.Registry]
"""Adds to a user's services, if he has any, those that our own definitions ask for."""

# What the program itself is called inside a child, so that its `if __name__ == "__main__":`
# does not run there.
_MAIN_IN_CHILD: Final = "__milepost_main__"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The names, each `module:attribute`, and what it takes to import them.

    `main` is the program's own module, or the path of its file, folder or archive, where
    something is defined in it.
    """

    path: tuple[str, ...]
    main: str | None
    definitions: Mapping[str, str]
    services: str | None
    complete: str


@dataclass(frozen=True, slots=True)
class Application:
    """What a child has found."""

    definitions: Mapping[str, AnyDefinition]
    services: svcs.Registry


def origin_of(
    definitions: Iterable[AnyDefinition], services: svcs.Registry, complete: CompleteServices
) -> Origin:
    """Name what a child must import. Raises ConfigurationError for what has no name."""
    loading = sys.modules.get(_MAIN_IN_CHILD)
    if loading is not None and sys.modules["__main__"] is not loading:
        raise ConfigurationError(
            "a child process imports this program's main file, which starts a worker at once: put "
            "that under `if __name__ == '__main__':`"
        )
    definitions = list(definitions)
    wanted = next((each for each in definitions if each.services), None)
    own = {each.kind: _own_name(each) for each in definitions}
    nameless = [each for each in definitions if own[each.kind] is None]
    # One search for all: it walks through whatever is imported.
    names = _find([*nameless, *([] if wanted is None else [services])])
    named = {each.kind: own[each.kind] or _found(each, names) for each in definitions}
    found = names.get(id(services))
    if wanted is not None and found is None:
        raise ConfigurationError(
            f"{wanted.kind} runs in child processes, which import the services it asks for: keep "
            "the svcs.Registry, or the Milepost made with it, at the top level of a module"
        )
    used = [*named.values(), found or ""]
    return Origin(
        path=tuple(str(Path(entry).resolve()) for entry in sys.path),
        main=_main() if any(name.startswith("__main__:") for name in used) else None,
        definitions=named,
        services=found,
        complete=f"{complete.__module__}:{complete.__qualname__}",
    )


def load(origin: Origin) -> Application:
    """Import it all, in the child."""
    sys.path[:] = origin.path
    if origin.main is not None:
        sys.modules["__main__"] = _load_main(origin.main)
    complete: CompleteServices = resolve(origin.complete)
    given = None if origin.services is None else resolve(origin.services)
    definitions = {kind: resolve(name) for kind, name in origin.definitions.items()}
    return Application(definitions, complete(given))


def _own_name(definition: AnyDefinition) -> str | None:
    # An object that is called has no name of its own.
    qualified = getattr(definition.handler, "__qualname__", "")
    name = f"{definition.handler.__module__}:{qualified}"
    return name if qualified and "<locals>" not in name and _leads_to(name, definition) else None


def _found(definition: AnyDefinition, names: Mapping[int, str]) -> str:
    name = names.get(id(definition))
    if name is None:
        qualified = getattr(definition.handler, "__qualname__", "")
        within = f", not inside of {qualified.partition('.<locals>')[0]!r}" if qualified else ""
        raise ConfigurationError(
            f"{definition.kind} runs in child processes, which import it: define it at the top "
            f"level of a module{within}"
        )
    return name


def _leads_to(name: str, thing: object) -> bool:
    try:
        return resolve(name) is thing
    except (ImportError, AttributeError):
        return False


def _find(things: Sequence[object]) -> dict[int, str]:
    """Look for things among the names of all modules, and the attributes of what they name.

    Returns the names of those that were found, by their identities.
    """
    sought = {id(thing) for thing in things}
    if not sought:
        return {}
    # The program's own file last: whatever else it does must not happen again in a child. What only
    # looks like a module may do anything when it is looked into.
    modules = {
        name: list(vars(module).items())
        for name, module in sorted(
            sys.modules.copy().items(), key=lambda each: each[0] == "__main__"
        )
        if type(module) is types.ModuleType
    }
    found: dict[int, str] = {}
    for name, attributes in modules.items():
        for attribute, value in attributes:
            if id(value) in sought:
                found.setdefault(id(value), f"{name}:{attribute}")
    if sought <= found.keys():
        return found
    for name, attributes in modules.items():
        for attribute, value in attributes:
            if _is_application(type(value)) and id(value.services) in sought:
                found.setdefault(id(value.services), f"{name}:{attribute}.services")
    return found


def _is_application(type_: type) -> bool:
    return any(each.__module__ == "milepost.app" for each in type_.__mro__)


def _main() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    # A folder or an archive has a spec without a name of its own, and stands where it is run.
    file = sys.path[0] if spec is not None else getattr(main, "__file__", None)
    if file is None:
        raise ConfigurationError(
            "child processes import what they run, and nothing can be imported from an "
            "interactive session: put the definitions into a file"
        )
    return str(Path(file).resolve())


def _load_main(main: str) -> types.ModuleType:
    made = types.ModuleType(_MAIN_IN_CHILD)
    # Before it runs: what it defines is looked up by this name while it does.
    sys.modules[_MAIN_IN_CHILD] = made
    if Path(main).is_absolute():
        made.__dict__.update(runpy.run_path(main, run_name=_MAIN_IN_CHILD))
    else:
        made.__dict__.update(runpy.run_module(main, run_name=_MAIN_IN_CHILD))
    return made


def resolve(name: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, path = name.partition(":")
    found: Any = (
        sys.modules["__main__"] if module == "__main__" else importlib.import_module(module)
    )
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return found
