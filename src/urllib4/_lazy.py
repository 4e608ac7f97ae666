"""Names of a package that load their module when they are first asked for (PEP 562).

Importing the package then costs a program only what it goes on to use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy(
    namespace: dict[str, Any], homes: Mapping[str, str], modules: Collection[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return what a package needs as its ``__getattr__`` and ``__dir__``.

    :param namespace: the package's ``globals()``.  A name is kept there once it is loaded, so that
        the next use costs what any attribute does.
    :param homes: name: the sub-module that has it.
    :param modules: sub-modules that are attributes without an import of their own.

    Safe for many threads: the import system lets one of them load a module, the others wait for
    it, and all get the same object.
    """
    package = namespace["__name__"]
    for name in homes:  # importlib.reload() executes in the old namespace, and is to load anew
        namespace.pop(name, None)

    def __getattr__(name: str) -> Any:
        home = homes.get(name)
        if home is not None:
            value = getattr(importlib.import_module(f"{package}.{home}"), name)
            # Not overwritten: another thread may have put a double there meanwhile.
            return namespace.setdefault(name, value)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*namespace, *homes, *modules})

    return __getattr__, __dir__
