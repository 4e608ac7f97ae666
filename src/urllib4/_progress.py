"""Telling a caller how far a body has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Gets the bytes of the body so far, and of the whole body, None if that is not known.
ProgressCallback = Callable[[int, "int | None"], object]


class CallbackFailed(BaseException):
    """Carries what a callback raised through code that takes errors for those of the network.

    A callback may raise an OSError or a timeout of its own; that must neither be retried nor
    reported as the server's.  Never leaves the library.

    :ivar error: what it raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def guarded(name: str, callback: Any) -> ProgressCallback | None:
    """Return `callback` so that what it raises is a :exc:`CallbackFailed`.

    :raises TypeError: it cannot be called.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")

    def report(count: int, total: int | None) -> None:
        try:
            callback(count, total)
        except BaseException as error:
            raise CallbackFailed(error) from error

    return report
