"""How much of an answer a caller is ready to take."""

from __future__ import annotations

from typing import Any, NamedTuple

from .exceptions import ResponseTooLargeError

#: The keywords of ``urlopen``, pools and managers.
LIMIT_KEYWORDS = ("max_response_size", "max_decoded_size", "max_expansion")

#: Decoded bytes from which on the expansion counts: small bodies of zeros are no attack.
EXPANSION_GRACE = 64 * 1024


class Limits(NamedTuple):
    """Bounds on one response; None: no bound.

    :ivar response: bytes of the body as it is sent, ``max_response_size``.
    :ivar decoded: bytes of the content that is handed out, ``max_decoded_size``.
    :ivar expansion: how many times larger than the body the content may be, once it has more
        than 64 KiB, ``max_expansion``.
    """

    response: int | None = None
    decoded: int | None = None
    expansion: float | None = None

    def check_declared(self, length: int | None) -> None:
        """Refuse a body that says beforehand that it is too large.

        :raises ResponseTooLargeError: nothing of it was read.
        """
        if length is not None and self.response is not None and length > self.response:
            raise ResponseTooLargeError(self.response, "response")

    def check_received(self, received: int, *, decodes: bool) -> None:
        """Refuse to read on when more than the limit was received.

        :param decodes: the content is something else than these bytes.
        """
        if self.response is not None and received > self.response:
            raise ResponseTooLargeError(self.response, "response")
        if not decodes and self.decoded is not None and received > self.decoded:
            raise ResponseTooLargeError(self.decoded, "decoded")

    def room(self, decoded: int, received: int) -> int | None:
        """Return how many more bytes may be decoded; None: any number."""
        bounds = []
        if self.decoded is not None:
            bounds.append(self.decoded - decoded)
        if self.expansion is not None:
            bounds.append(max(EXPANSION_GRACE, int(self.expansion * received)) - decoded)
        return max(0, min(bounds)) if bounds else None

    def exceeded(self, decoded: int) -> ResponseTooLargeError:
        """Return the error for content of which `decoded` bytes are too many."""
        if self.decoded is not None and decoded > self.decoded:
            return ResponseTooLargeError(self.decoded, "decoded")
        assert self.expansion is not None
        return ResponseTooLargeError(self.expansion, "expansion")


def take_limits(options: dict[str, Any], default: Limits | None = None) -> Limits | None:
    """Take the limits out of keyword arguments; those not given are the `default`'s.

    :raises ValueError: one is no number, or below 0 (an expansion: below 1).
    """
    given = {name: options.pop(name) for name in LIMIT_KEYWORDS if name in options}
    if not given:
        return default
    base = default or Limits()
    limits = Limits(
        _size(given, "max_response_size", base.response),
        _size(given, "max_decoded_size", base.decoded),
        _factor(given.get("max_expansion", base.expansion)),
    )
    return None if limits == Limits() else limits


def _size(given: dict[str, Any], name: str, default: int | None) -> int | None:
    value = given.get(name, default)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{name} is a number of bytes, at least 0, or None, not {value!r}")


def _factor(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"max_expansion is a factor of at least 1, or None, not {value!r}")
