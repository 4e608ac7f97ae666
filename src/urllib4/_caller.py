"""Warnings that show the line of the program, however deep in the library they arise."""

from __future__ import annotations

import sys
import warnings

_PACKAGE = __name__.partition(".")[0]


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the nearest caller outside of this package.

    A fixed ``stacklevel`` would be right for one way through the library only: a request comes
    from ``request()``, ``urlopen()``, a pool, a manager, or an override of one of them.
    ``skip_file_prefixes`` does the same from Python 3.12 on.
    """
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")
