"""Run test functions in interpreters of their own, in which urllib3 *is* urllib4.

Started by ``conftest.py`` as a program, never imported by the test run itself: what it does to
``sys.modules`` cannot be undone.  ``site-packages`` stays as it is.

Each line of the input asks for one function, and is answered by a line.  The function is called
in a fork of this process, which has imported what all of them need but none of the clients.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from types import ModuleType
from typing import IO, Any

#: Exit status of a test function that failed; others mean that this program itself did.
FAILED = 3

#: Seconds for one function; then its process is ended.
PATIENCE = 45


def install() -> None:
    """Let every name below ``urllib3`` mean the module of urllib4.

    Eagerly, with all sub-modules: one that is not registered when a program asks for it would be
    loaded a second time under its other name, with classes of its own.  A sub-module that cannot
    be imported here (its optional package is missing) must not come from the real urllib3 either.

    :raises RuntimeError: something imported urllib3 before.
    """
    early = sorted(name for name in sys.modules if _is_below("urllib3", name))
    if early:
        raise RuntimeError(f"imported too early: {', '.join(early)}")
    package = importlib.import_module("urllib4")
    sys.modules["urllib3"] = package
    for found in pkgutil.walk_packages(package.__path__, "urllib4.", onerror=lambda name: None):
        if found.name.endswith(".__main__"):
            continue
        with warnings.catch_warnings(), suppress(ImportError):  # optional packages
            warnings.simplefilter("ignore")
            module = importlib.import_module(found.name)
            sys.modules["urllib3" + found.name.removeprefix("urllib4")] = module
    sys.meta_path.insert(0, _Refusal())


class _Refusal:
    """Finds nothing below ``urllib3``: what urllib4 has is in ``sys.modules`` by now."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if _is_below("urllib3", name):
            raise ModuleNotFoundError(f"urllib4 has no module for {name}", name=name)


def check() -> None:
    """Assert that no second copy of a module came in, neither ours nor that of urllib3."""
    for name, module in list(sys.modules.items()):
        if _is_below("urllib3", name):
            twin = sys.modules["urllib4" + name.removeprefix("urllib3")]
            assert module is twin, f"{name} is another module than its twin: {module!r}"


def _is_below(package: str, name: str) -> bool:
    return name == package or name.startswith(package + ".")


def _be_strict() -> None:
    """Turn what urllib4 warns about into errors; the warnings of others are their business."""
    warnings.filterwarnings("error", message=".*urllib4")
    warnings.filterwarnings("error", module=r"urllib4\b")
    warnings.simplefilter("error", sys.modules["urllib4"].exceptions.HTTPWarning)


def main(path: str) -> None:
    """Call functions of the test module at `path`, as the lines of the input want it."""
    install()
    _be_strict()
    spec = importlib.util.spec_from_file_location("downstream_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gc.freeze()  # or the end of each process would look at all that is common to them
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as output:
            process = os.fork()
            if not process:
                wanted = json.loads(line)
                _become(output, wanted.pop("environment"))
                sys.exit(_call(module, **wanted))
            _, status = os.waitpid(process, 0)
            output.seek(0)
            print(json.dumps([os.waitstatus_to_exitcode(status), output.read()]), flush=True)


def _become(output: IO[str], environment: dict[str, str]) -> None:
    """Be the process of one function, whose words go to `output`."""
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.alarm(PATIENCE)


def _call(module: ModuleType, name: str, arguments: dict[str, Any]) -> int:
    try:
        getattr(module, name)(**arguments)
        check()
    except Exception as error:
        described = traceback.TracebackException.from_exception(error, capture_locals=True)
        print("".join(described.format()), file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
