"""Text to bytes, bytes to text, and raising an error with a given traceback."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

__all__ = ["reraise", "to_bytes", "to_str"]


def to_bytes(x: str | bytes, encoding: str | None = None, errors: str | None = None) -> bytes:
    """Return `x` as bytes; bytes are returned unchanged.

    :param encoding: codec for a str, UTF-8 by default.
    :param errors: error handler of that codec, ``"strict"`` by default.
    :raises TypeError: `x` is neither str nor bytes.
    :raises UnicodeEncodeError: the codec cannot express `x`.
    """
    if isinstance(x, bytes):
        return x
    if not isinstance(x, str):
        raise TypeError(f"not expecting type {type(x).__name__}")
    return x.encode(encoding or "utf-8", errors or "strict")


def to_str(x: str | bytes, encoding: str | None = None, errors: str | None = None) -> str:
    """Return `x` as str; a str is returned unchanged.

    :param encoding: codec for bytes, UTF-8 by default.
    :param errors: error handler of that codec, ``"strict"`` by default.
    :raises TypeError: `x` is neither str nor bytes.
    :raises UnicodeDecodeError: the bytes are not valid in that codec.
    """
    if isinstance(x, str):
        return x
    if not isinstance(x, bytes):
        raise TypeError(f"not expecting type {type(x).__name__}")
    return x.decode(encoding or "utf-8", errors or "strict")


def reraise(
    tp: type[BaseException] | None, value: BaseException, tb: TracebackType | None = None
) -> NoReturn:
    """Raise `value`, with the traceback `tb` if one is given.

    :param tp: ignored; it is what ``sys.exc_info()`` has in this place.
    """
    try:
        if tb is not None and value.__traceback__ is not tb:
            raise value.with_traceback(tb)
        raise value
    finally:
        # The traceback refers to this frame: without this, frame and error keep each other alive.
        del value, tb
