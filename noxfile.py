"""The project's chores: ``nox -s test lint type docs``.

Everything is installed into environments of nox's own; nothing but nox itself has to be there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

#: What the tests run on, as far as it is installed.
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")

#: All extras: tests of what needs a missing package would be skipped.
EXTRAS = ".[brotli,zstd,socks,h2,cli]"

#: Processes that run tests.  One more than there are cores, since many tests wait, up to a number
#: at which each has enough to do.
WORKERS = str(min((os.cpu_count() or 1) + 1, 8))

# uv would otherwise fetch interpreters that nobody asked for.
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["test", "lint", "type", "docs"]
nox.options.error_on_missing_interpreters = False


def _runs(version: str) -> bool:
    """Whether ``pythonX.Y`` can be run: pyenv has one on PATH for versions that are not active."""
    program = shutil.which(f"python{version}")
    if program is None:
        return False
    return subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0


def _installed() -> list[str] | None:
    """Return the versions to test on; None stands for the Python that runs nox."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    found = {version for version in SUPPORTED if _runs(version)}
    if running not in found and _is_beside(running):
        os.environ["PATH"] = os.pathsep.join([_own_directory(), os.environ.get("PATH", "")])
        found.add(running)
    return sorted(found, key=lambda version: int(version.partition(".")[2])) or None


def _own_directory() -> str:
    return str(Path(sys.executable).parent)


def _is_beside(version: str) -> bool:
    return shutil.which(f"python{version}", path=_own_directory()) is not None


PYTHONS = _installed()


def _group(name: str) -> list[str]:
    project = nox.project.load_toml("pyproject.toml")
    return list(nox.project.dependency_groups(project, name))


@nox.session(python=PYTHONS)
def test(session: nox.Session) -> None:
    """Run the tests; what follows ``--`` goes to pytest.

    ``nox -s test -- --hypothesis-profile=search`` looks for new examples (see tests/examples.py).
    """
    if PYTHONS is not None and session.python == PYTHONS[0]:
        for version in SUPPORTED:
            if version not in PYTHONS:
                session.warn(f"skipped: Python {version} is not installed")
    session.install(EXTRAS, *_group("test"))
    session.run("python", "-m", "pytest", "-n", WORKERS, "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting; ``nox -s lint -- --fix`` mends what can be mended."""
    session.install(*_group("lint"))
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    else:
        session.run("ruff", "check", ".")
        session.run("ruff", "format", "--check", "--diff", ".")


@nox.session
def type(session: nox.Session) -> None:
    """Check the types inside, and that the public names tell theirs to other checkers."""
    session.install(EXTRAS, *_group("type"))
    session.run("mypy")
    session.run("pyright", "--verifytypes", "urllib4", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, run its examples and preview the next change log."""
    session.install(EXTRAS, *_group("docs"))
    output = Path("docs", "_build")
    for builder in ("html", "doctest"):
        session.run(
            "python", "-m", "sphinx", "-W", "--keep-going", "-b", builder, "docs", output / builder
        )
    session.run("towncrier", "build", "--draft", silent=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare the speed with other clients; ``nox -s bench -- --quick`` takes under a minute."""
    session.install(".", *_group("bench"))
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
