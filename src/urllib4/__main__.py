"""``python -m urllib4 URL``: send a request and show the answer; ``demo`` shows the library."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: without the name of the program; default: ``sys.argv[1:]``.
    :returns: the exit code, see :mod:`urllib4._cli.errors`.
    """
    # Here, so that it costs nothing to import this module.
    from ._cli.run import main as run

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
